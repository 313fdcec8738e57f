"""Paired differences between two schedulers: the value a comparison returns, and its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan

from andes_engine.metrics import metric
from andes_engine.report.grid import MISSING, Cell, Column, Grid, metric_label


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus reference in one metric, with its interval (NaN bounds: too few runs to give one).

    `iqm` is the interquartile mean of the differences between workloads: one extreme workload cannot carry it.
    """

    candidate: str
    reference: str
    metric: str
    mean: float
    low: float
    high: float
    probability_of_improvement: float
    workloads: int
    improvement_low: float = nan
    improvement_high: float = nan
    iqm: float = nan
    iqm_low: float = nan
    iqm_high: float = nan

    @property
    def has_interval(self) -> bool:
        """Whether there were enough runs to give an interval."""
        return isfinite(self.low) and isfinite(self.high)

    @property
    def verdict(self) -> str:
        """'better', 'worse', 'no difference' when the interval spans zero, 'unknown' without an interval."""
        if not self.has_interval:
            return "unknown"
        if self.low <= 0.0 <= self.high:
            return "no difference"
        return "better" if (self.mean > 0) == metric(self.metric).higher_is_better else "worse"


def difference_grid(differences: Iterable[Difference], title: str, robust: bool = False) -> Grid:
    """Paired differences, one row each, with their intervals.

    Args:
        differences: What to show.
        title: What the table shows.
        robust: Whether to add a column with the interquartile mean of the differences between workloads.
    """
    labels = ["candidate − reference", "metric", "difference", "95 % interval", "P(better)", "workloads", "verdict"]
    text = {"candidate − reference", "metric", "verdict"}
    if robust:
        labels.insert(4, "IQM")
    columns = tuple(Column(label, numeric=label not in text) for label in labels)
    notes = [
        "Same requests under both schedulers. Stratified bootstrap over workloads, then over blocks of requests; "
        "'no difference' means that the interval contains zero. P(better): share of pairs in which the candidate is "
        "better, ties count half.",
    ]
    if robust:
        notes.append("IQM: mean of the middle half of the workloads' differences. Smaller type: 95 % intervals.")
    return Grid(title, columns, tuple(_difference_row(entry, robust) for entry in differences), tuple(notes))


def interval_cell(value: float, low: float, high: float, form: str) -> Cell:
    """A number and its interval; a dash where there is none."""
    if not isfinite(value):
        return Cell()
    return Cell(f"{value:{form}}", f"{low:{form}}, {high:{form}}" if isfinite(low) and isfinite(high) else "")


def _difference_row(entry: Difference, robust: bool) -> tuple[Cell, ...]:
    shown = metric(entry.metric)
    form = f"+.{max(shown.digits, 1)}f"
    interval = f"[{entry.low:{form}}, {entry.high:{form}}]" if entry.has_interval else MISSING
    return (
        Cell(f"{entry.candidate} − {entry.reference}"),
        Cell(metric_label(shown)),
        interval_cell(entry.mean, nan, nan, form),
        Cell(interval),
        *((interval_cell(entry.iqm, entry.iqm_low, entry.iqm_high, form),) if robust else ()),
        interval_cell(entry.probability_of_improvement, entry.improvement_low, entry.improvement_high, ".2f"),
        Cell(f"{entry.workloads}"),
        Cell(entry.verdict),
    )
