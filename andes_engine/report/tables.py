"""The tables people see: schedulers against metrics, several engines in one table.

Every number is computed here, once, from run records; renderers only print it. What was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from andes_engine.metrics import HEADLINE, Metric, metric, summarize
from andes_engine.records import RunRecord
from andes_engine.report.grid import Cell, Column, Grid, metric_label

Layout = Literal["columns", "rows"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric of one scheduler on one engine over several runs: median and full range."""

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Numbers behind a comparison table.

    Args:
        blocks: Names of the engines, in order of appearance.
        schedulers: Names of the schedulers, in order of appearance.
        metrics: Metrics, in order.
        values: Summary by (block, scheduler, metric key); what was not measured is absent.
        notes: How to read the numbers, and what about them is unequal.
    """

    blocks: tuple[str, ...]
    schedulers: tuple[str, ...]
    metrics: tuple[Metric, ...]
    values: Mapping[tuple[str, str, str], Summary]
    notes: tuple[str, ...]


def compare(blocks: Mapping[str, Iterable[RunRecord]], keys: Sequence[str] = HEADLINE) -> Comparison:
    """Summarize runs by engine and scheduler: the one place where table numbers are computed.

    Args:
        blocks: Runs by what to call their engine, for example 'simulator' and 'live vLLM'. A block may be empty.
        keys: Metrics to show, by key.
    """
    runs = {block: list(records) for block, records in blocks.items()}
    schedulers = tuple(dict.fromkeys(run.scheduler for records in runs.values() for run in records))
    values, notes = {}, ["Median over runs, with the lowest and highest run; one value where there is one run."]
    for block, records in runs.items():
        for scheduler in schedulers:
            mine = [run for run in records if run.scheduler == scheduler]
            values.update({(block, scheduler, key): entry for key, entry in _summaries(mine, keys).items()})
        notes += _inequalities(block, records)
    return Comparison(tuple(runs), schedulers, tuple(metric(key) for key in keys), values, tuple(notes))


def comparison_grid(comparison: Comparison, title: str, layout: Layout = "columns") -> Grid:
    """The comparison as a table: engines side by side ('columns'), or below each other for narrow media ('rows')."""
    if layout == "columns":
        columns = [Column(metric_label(entry), block) for block in comparison.blocks for entry in comparison.metrics]
        head = [Column("scheduler", numeric=False)]
        rows = [
            [Cell(name), *(cell for block in comparison.blocks for cell in _cells(comparison, block, name))]
            for name in comparison.schedulers
        ]
    else:
        columns = [Column(metric_label(entry)) for entry in comparison.metrics]
        head = [Column("scheduler", numeric=False), Column("engine", numeric=False)]
        rows = [
            [Cell(name), Cell(block), *_cells(comparison, block, name)]
            for name in comparison.schedulers
            for block in comparison.blocks
        ]
    return Grid(title, (*head, *columns), tuple(map(tuple, rows)), comparison.notes)


def _summaries(runs: Sequence[RunRecord], keys: Sequence[str]) -> dict[str, Summary]:
    tables = [summarize(run) for run in runs]
    measured = {key: [table[key] for table in tables if np.isfinite(table[key])] for key in keys}
    return {
        key: Summary(float(np.median(values)), min(values), max(values), len(values))
        for key, values in measured.items()
        if values
    }


def _inequalities(block: str, runs: Sequence[RunRecord]) -> list[str]:
    """What keeps the runs of one block from being a fair comparison; a reader has to know."""
    every = {run.workload.fingerprint for run in runs}
    notes = []
    for scheduler in dict.fromkeys(run.scheduler for run in runs):
        mine = [run for run in runs if run.scheduler == scheduler]
        if (seen := {run.workload.fingerprint for run in mine}) != every:
            notes.append(
                f"{block}, {scheduler}: ran {len(seen)} of the {len(every)} workloads, so its row is not comparable."
            )
        if unfinished := sum(int((~run.finished).sum()) for run in mine):
            lower = np.median([summarize(run)["qoe_mean_lower"] for run in mine])
            notes.append(
                f"{block}, {scheduler}: {unfinished} requests unfinished; its QoE is an upper bound, "
                f"the lower bound of the mean is {lower:.3f}."
            )
    return notes


def _cells(comparison: Comparison, block: str, scheduler: str) -> list[Cell]:
    return [_cell(comparison.values.get((block, scheduler, entry.key)), entry.digits) for entry in comparison.metrics]


def _cell(summary: Summary | None, digits: int) -> Cell:
    if summary is None:
        return Cell()
    spread = f"{summary.low:.{digits}f}–{summary.high:.{digits}f}" if summary.runs > 1 else ""
    return Cell(f"{summary.median:.{digits}f}", spread)
