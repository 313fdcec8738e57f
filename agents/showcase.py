"""One workload of a comparison, chosen by rule and run again to be looked at over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.records import RunRecord
from andes_engine.report.engine_over_time import engine_over_time, knobs_over_time
from andes_engine.report.html import ReportFigure
from andes_engine.report.shown_run import ShownRun
from andes_engine.report.timelines import token_timelines, typical_requests
from andes_engine.sim.sampled import EngineSamples, run_sampled
from andes_engine.workload import Workload

SAMPLES = 240
"""Samples of a run: more cannot be seen."""


class Showcase(NamedTuple):
    """One workload that is run again to be looked at over time.

    Attributes:
        engine: Its engine.
        workload: Its requests.
        contenders: Who is run on it.
        rule: How it was chosen, in words.
        records: What each contender's first run gave, to check that the second one gives the same.
        pair: Candidate and reference of the difference it was chosen by.
    """

    engine: EngineConfig
    workload: Workload
    contenders: Sequence[Contender]
    rule: str
    records: Mapping[str, RunRecord]
    pair: tuple[str, str]


def choose_showcase(
    runs: Sequence[ShownRun],
    engines: Mapping[str, EngineConfig],
    contenders: Sequence[Contender],
    candidate: str,
    reference: str,
) -> Showcase | None:
    """The workload to look at: in the first setting, at its highest load, the one with the median difference in mean QoE.

    Args:
        runs: All runs of the comparison.
        engines: Engine of each setting, by setting.
        contenders: Who took part.
        candidate: Contender of the difference, as figures call it.
        reference: Contender it is compared with.

    Returns:
        None if the two have no workload in common.
    """
    theirs = {(run.setting, run.record.workload.fingerprint): run for run in runs if run.record.scheduler == reference}
    both = [
        (run, theirs[place])
        for run in runs
        if run.record.scheduler == candidate and (place := (run.setting, run.record.workload.fingerprint)) in theirs
    ]
    if not both:
        return None
    setting = both[0][0].setting
    highest = max(mine.load for mine, _ in both if mine.setting == setting)
    at_it = [pair for pair in both if pair[0].setting == setting and pair[0].load == highest]
    gains = [float(mine.record.qoe.mean() - its.record.qoe.mean()) for mine, its in at_it]
    chosen, _ = at_it[int(np.argsort(gains, kind="stable")[(len(gains) - 1) // 2])]
    workload = chosen.record.workload
    rule = (
        f"Chosen by rule, not by eye: {f'in the first setting ({setting}), ' if setting else ''}at the highest load, "
        f"the workload with the median difference in mean QoE between {candidate} and {reference} (of {len(gains)}; "
        f"fingerprint {workload.fingerprint})."
    )
    records = {
        run.record.scheduler: run.record
        for run in runs
        if run.setting == setting and run.record.workload.fingerprint == workload.fingerprint
    }
    taking_part = [contender for contender in contenders if contender.label in records]
    return Showcase(engines[setting], workload, taking_part, rule, records, (candidate, reference))


def showcase_figures(showcase: Showcase) -> list[ReportFigure]:
    """One workload under each contender: its tokens, the engine, and the knobs of policies."""
    records, samples = _run_again(showcase)
    rule = f"{showcase.rule} {_reproduced(showcase, records)}"
    candidate, reference = (next(run for run in records if run.scheduler == name) for name in showcase.pair)
    chosen = typical_requests(candidate, reference)
    figures = [
        ReportFigure(
            token_timelines(records, chosen),
            "Token timelines",
            f"What the reader expects, what the server delivers and what the reader consumes, for the requests at the 5 %, 50 % "
            f"and 95 % quantile of the QoE difference {candidate.scheduler} − {reference.scheduler}. {rule}",
        ),
        ReportFigure(
            engine_over_time(samples),
            "Memory, queue and preemptions over time",
            f"{len(showcase.workload)} requests, {showcase.workload.rate:.3g} requests/s, on {showcase.engine.name} "
            f"({showcase.engine.kv_blocks} KV blocks). {rule}",
        ),
    ]
    actions = {entry.label: entry.bundle.action for entry in showcase.contenders if entry.bundle}
    if actions:
        caption = f"What each policy set within each knob's bounds; grey: its reference, the zero action. {rule}"
        figures.append(ReportFigure(knobs_over_time(samples, actions), "Knobs over time", caption))
    return figures


def _run_again(showcase: Showcase) -> tuple[list[RunRecord], dict[str, EngineSamples]]:
    longest_s = max(record.duration_s for record in showcase.records.values())
    again = [
        run_sampled(showcase.engine, showcase.workload, contender, longest_s / SAMPLES)
        for contender in showcase.contenders
    ]
    return [record for record, _ in again], {record.scheduler: samples for record, samples in again}


def _reproduced(showcase: Showcase, again: Sequence[RunRecord]) -> str:
    moved = [run.scheduler for run in again if not np.array_equal(run.qoe, showcase.records[run.scheduler].qoe)]
    if moved:
        return f"Run again for this picture, and not with the same outcome under {', '.join(moved)}."
    return "Run again for this picture, with the same QoE of every request."
