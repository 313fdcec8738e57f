"""The figures of a comparison: the one place that turns outcomes into pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from agents.evaluate import Outcome
from andes_engine.records import RunRecord
from andes_engine.report.figures import qoe_against_load, ttft_distribution
from andes_engine.report.html import ReportFigure

MOST_SETTINGS = 6
"""Settings that get a figure of their own; a larger suite is for its tables and its rows."""


def comparison_figures(outcomes: Sequence[Outcome]) -> tuple[ReportFigure, ...]:
    """QoE against load in each setting, and times to first token of all runs."""
    by_setting: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_setting[outcome.setting].append(outcome)
    settings = by_setting.items() if len(by_setting) <= MOST_SETTINGS else ()
    curves = [figure for name, runs in settings for figure in _against_load(name, runs)]
    pooled = ttft_distribution([outcome.record for outcome in outcomes])
    return (
        *curves,
        ReportFigure(pooled, "Time to first token", "All workloads pooled; further left is sooner."),
    )


def _against_load(setting: str, outcomes: Sequence[Outcome]) -> list[ReportFigure]:
    by_stratum: dict[str, list[RunRecord]] = defaultdict(list)
    for outcome in outcomes:
        by_stratum[outcome.stratum].append(outcome.record)
    by_load = {float(np.median([run.workload.rate for run in runs])): runs for runs in by_stratum.values()}
    if len(by_load) < 2:
        return []
    title = f"QoE against load, {setting}" if setting else "QoE against load"
    return [ReportFigure(qoe_against_load(by_load), title, "Median over workloads; the band is their range.")]
