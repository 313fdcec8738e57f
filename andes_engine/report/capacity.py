"""Capacities: the values a search returns, their table, their sentences, and the figure of QoE against load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from andes_engine.report.differences import interval_cell
from andes_engine.report.grid import Cell, Column, Grid
from andes_engine.report.style import GREY, WIDTH_IN, house_style, style_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Capacity:
    """The highest load one contender carries. Loads are shares of what FCFS saturates at.

    Args:
        contender: Name.
        load: Capacity.
        low: Lower bound of its 95 % interval; NaN with one seed.
        high: Upper bound.
        rate: Capacity, requests/s.
        monotone: Whether no higher load reached the target again.
        bounded: Whether the interval lies inside the searched loads; if not, it is cut off there.
        loads: Loads evaluated. Shape (loads,).
        qoe: Mean QoE of each workload at each. Shape (seeds, loads).
    """

    contender: str
    load: float
    low: float
    high: float
    rate: float
    monotone: bool
    bounded: bool
    loads: FloatArray
    qoe: FloatArray


@dataclass(frozen=True, slots=True)
class CapacityRatio:
    """Capacity of one contender over that of another, on the same workloads."""

    contender: str
    reference: str
    ratio: float
    low: float
    high: float

    @property
    def saving(self) -> tuple[float, float, float]:
        """Share of GPUs saved for the same traffic, and its interval: ``1 - 1 / ratio``, if capacity grows as the GPUs do."""
        return 1.0 - 1.0 / self.ratio, 1.0 - 1.0 / self.low, 1.0 - 1.0 / self.high

    @property
    def verdict(self) -> str:
        """'more', 'less', 'no difference' when the interval contains 1, 'unknown' without an interval."""
        if not (isfinite(self.low) and isfinite(self.high)):
            return "unknown"
        if self.low <= 1.0 <= self.high:
            return "no difference"
        return "more" if self.ratio > 1.0 else "less"


def capacity_grid(capacities: Sequence[Capacity], ratios: Sequence[CapacityRatio], target: float, title: str) -> Grid:
    """One row for each contender: capacity, and ratio and GPUs saved against each reference."""
    references = list(dict.fromkeys(entry.reference for entry in ratios))
    by_pair = {(entry.contender, entry.reference): entry for entry in ratios}
    columns = [Column("scheduler", numeric=False)]
    columns += [Column("requests/s", "capacity"), Column("load", "capacity")]
    columns += [Column(label, f"against {name}") for name in references for label in ("ratio", "GPUs saved")]
    rows = []
    for entry in capacities:
        scale = entry.rate / entry.load
        cells = [Cell(entry.contender), interval_cell(entry.rate, entry.low * scale, entry.high * scale, ".2f")]
        cells.append(interval_cell(entry.load, entry.low, entry.high, ".3f"))
        rows.append((*cells, *(cell for name in references for cell in _against(by_pair.get((entry.contender, name))))))
    return Grid(title, tuple(columns), tuple(rows), tuple(_notes(capacities, target)))


def capacity_sentences(ratios: Sequence[CapacityRatio], target: float) -> list[str]:
    """The result in words, one sentence for each pair."""
    said = []
    for entry in ratios:
        saved, saved_low, saved_high = entry.saving
        verdict = entry.verdict
        known = verdict != "unknown"
        spread = f" (95 % interval {entry.low:.2f} to {entry.high:.2f})" if known else ""
        gpus = f"; {saved:.0%} fewer GPUs ({saved_low:.0%} to {saved_high:.0%})" if verdict == "more" else ""
        told = f"{gpus}." if verdict in ("more", "less") else f", {verdict if known else 'interval unknown'}."
        said.append(
            f"{entry.contender} carries {entry.ratio:.2f} times the load of {entry.reference} "
            f"at mean QoE >= {target:g}{spread}{told}"
        )
    return said


def capacity_figure(capacities: Sequence[Capacity], target: float) -> Figure:
    """Mean QoE over workloads against load, their range as a band, and each crossing of the target with its interval.

    Raises:
        ValueError: If there is no capacity.
    """
    if not capacities:
        raise ValueError("a figure needs at least one capacity")
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.axhline(target, color=GREY, linewidth=1.0, linestyle=(0, (1, 2)))
        handles = []
        for entry in capacities:
            look = style_of(entry.contender)
            axes.plot(entry.loads, entry.qoe.mean(axis=0), color=look.color, linestyle=look.dash)
            low, high = entry.qoe.min(axis=0), entry.qoe.max(axis=0)
            axes.fill_between(entry.loads, low, high, color=look.color, alpha=0.15, linewidth=0)
            axes.plot([entry.low, entry.high], [target, target], color=look.color, linewidth=5, alpha=0.5)
            axes.plot([entry.load], [target], color=look.color, marker=look.marker, markersize=8, clip_on=False)
            label = f"{entry.contender}: {entry.load:.2f}"
            handles.append(Line2D([], [], color=look.color, linestyle=look.dash, marker=look.marker, label=label))
        axes.set(xlabel="load, share of FCFS saturation", ylabel="QoE, mean over requests", ylim=(-0.02, 1.03))
        axes.annotate(
            f"target {target:g}",
            (1.0, target),
            (0, 3),
            axes.get_yaxis_transform(),
            "offset points",
            color=GREY,
            ha="right",
        )
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4), handlelength=2.4)
    return figure


def _against(entry: CapacityRatio | None) -> tuple[Cell, Cell]:
    if entry is None:
        return Cell(), Cell()
    return interval_cell(entry.ratio, entry.low, entry.high, ".2f"), interval_cell(*entry.saving, ".0%")


def _notes(capacities: Sequence[Capacity], target: float) -> list[str]:
    seeds = len(capacities[0].qoe)
    notes = [
        f"Capacity: first load at which mean QoE over {seeds} workloads falls below {target:g}; 95 % intervals by bootstrap "
        "over workloads. Load: share of what FCFS saturates at. Ratios are paired: the same workloads for all.",
        "GPUs saved: 1 - 1 / ratio, for the same traffic at the same QoE, if capacity grows in proportion to the number of GPUs.",
    ]
    for entry in capacities:
        if not entry.monotone:
            notes.append(f"{entry.contender}: a higher load reaches the target again; the first crossing counts.")
        if not entry.bounded:
            notes.append(
                f"{entry.contender}: its interval ends where the searched loads end; give a wider low and high."
            )
    return notes
