"""Each contender's mean and interquartile mean with their intervals: the value a comparison returns, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from andes_engine.metrics import metric
from andes_engine.report.differences import interval_cell
from andes_engine.report.grid import Cell, Column, Grid, metric_label


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric of one contender over all workloads, with 95 % intervals (NaN bounds: too few runs to give one).

    Args:
        contender: Name.
        metric: Key of the metric.
        mean: Mean over strata of the mean over workloads.
        low: Lower bound of the mean.
        high: Upper bound of the mean.
        iqm: Interquartile mean over workloads: the middle half of all runs.
        iqm_low: Lower bound of it.
        iqm_high: Upper bound of it.
        workloads: Different workloads.
        unfinished: Requests without their last token; QoE is then an upper bound.
    """

    contender: str
    metric: str
    mean: float
    low: float
    high: float
    iqm: float
    iqm_low: float
    iqm_high: float
    workloads: int
    unfinished: int = 0


def estimate_grid(estimates: Sequence[Estimate], title: str) -> Grid:
    """One row for each contender; mean and interquartile mean of each metric side by side."""
    keys = list(dict.fromkeys(entry.metric for entry in estimates))
    names = list(dict.fromkeys(entry.contender for entry in estimates))
    by_place = {(entry.contender, entry.metric): entry for entry in estimates}
    columns = [Column("scheduler", numeric=False)]
    columns += [Column(kind, metric_label(metric(key))) for key in keys for kind in ("mean", "IQM")]
    rows = [(Cell(name), *(cell for key in keys for cell in _cells(by_place.get((name, key)), key))) for name in names]
    notes = [
        "Mean and interquartile mean (the middle half of all runs) with 95 % intervals of a stratified bootstrap over "
        "workloads. They are of each scheduler alone: whether two differ is told by the paired differences.",
    ]
    for name in names:
        if unfinished := max(entry.unfinished for entry in estimates if entry.contender == name):
            notes.append(f"{name}: {unfinished} requests unfinished; its QoE is an upper bound.")
    return Grid(title, tuple(columns), tuple(rows), tuple(notes))


def _cells(entry: Estimate | None, key: str) -> tuple[Cell, Cell]:
    if entry is None:
        return Cell(), Cell()
    form = f".{metric(key).digits}f"
    return (
        interval_cell(entry.mean, entry.low, entry.high, form),
        interval_cell(entry.iqm, entry.iqm_low, entry.iqm_high, form),
    )
