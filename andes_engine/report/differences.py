"""Paired differences between two schedulers: the value a comparison returns, and its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from andes_engine.metrics import metric
from andes_engine.report.grid import MISSING, Cell, Column, Grid, metric_label


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus reference in one metric, with its interval (NaN bounds: too few runs to give one)."""

    candidate: str
    reference: str
    metric: str
    mean: float
    low: float
    high: float
    probability_of_improvement: float
    workloads: int

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


def difference_grid(differences: Iterable[Difference], title: str) -> Grid:
    """Paired differences, one row each, with their intervals."""
    labels = ("candidate − reference", "metric", "difference", "95 % interval", "P(better)", "workloads", "verdict")
    text = {0, 1, 6}
    columns = tuple(Column(label, numeric=place not in text) for place, label in enumerate(labels))
    notes = (
        "Same requests under both schedulers. Stratified bootstrap over workloads, then over blocks of requests; "
        "'no difference' means that the interval contains zero. P(better): share of pairs in which the candidate is "
        "better, ties count half.",
    )
    return Grid(title, columns, tuple(_difference_row(entry) for entry in differences), notes)


def _difference_row(entry: Difference) -> tuple[Cell, ...]:
    shown = metric(entry.metric)
    digits = max(shown.digits, 1)
    interval = f"[{entry.low:+.{digits}f}, {entry.high:+.{digits}f}]" if entry.has_interval else MISSING
    texts = (
        f"{entry.candidate} − {entry.reference}",
        metric_label(shown),
        f"{entry.mean:+.{digits}f}",
        interval,
        f"{entry.probability_of_improvement:.2f}",
        f"{entry.workloads}",
        entry.verdict,
    )
    return tuple(map(Cell, texts))
