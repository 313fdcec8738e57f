"""Figures over many requests: QoE against load, time to first token, learning. Each takes records and returns a Figure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.legend import legend_of
from andes_engine.report.style import GREY, WIDTH_IN, SchedulerStyle, house_style, styles_for
from andes_engine.report.svg import svg_text

CURVE_POINTS = 240
"""Points of a distribution curve: more cannot be seen, and would only make the file larger."""


def qoe_against_load(runs_by_load: Mapping[float, Iterable[RunRecord]], load_label: str = "load, requests/s") -> Figure:
    """Mean and 10th-percentile QoE against load, one line for each scheduler.

    Args:
        runs_by_load: Runs by nominal load, requests/s. Several runs of a scheduler at a load give the median as the line
            and the full range as the band.
        load_label: What the load is, with its unit.
    """
    runs = {load: list(records) for load, records in sorted(runs_by_load.items())}
    looks = styles_for(schedulers_of(run for records in runs.values() for run in records))
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
        for axes, key, title in zip(
            figure.subplots(1, 2, sharey=True), ("qoe_mean", "qoe_p10"), ("Mean", "Worst tenth (p10)"), strict=True
        ):
            draw_load_curves(axes, runs, looks, key)
            axes.set(title=title, xlabel=load_label, ylim=(-0.02, 1.03))
        figure.axes[0].set_ylabel("QoE")
        _note_unfinished(figure.axes[0], sum(int((~run.finished).sum()) for each in runs.values() for run in each))
        legend_of(figure, looks)
    return figure


def draw_load_curves(
    axes: Axes, runs: Mapping[float, Sequence[RunRecord]], looks: Mapping[str, SchedulerStyle], key: str
) -> None:
    """One metric against load in one panel: a line for each scheduler that ran there."""
    for name, look in looks.items():
        if any(run.scheduler == name for records in runs.values() for run in records):
            _draw_band(axes, look, *_by_load(runs, name, key))


def ttft_distribution(records: Sequence[RunRecord]) -> Figure:
    """Share of requests whose first token came within a time, on a log axis; runs of one scheduler are pooled.

    Requests that never got a token count in the denominator, so such a curve stays below 1.
    """
    looks = styles_for(schedulers_of(records))
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
        axes = figure.subplots()
        for name, look in looks.items():
            times, shares = _distribution(_pooled(records, name, "ttft_s"))
            axes.plot(np.maximum(times, 1e-3), shares, color=look.color, linestyle=look.dash)
        expected_s = float(np.median(np.concatenate([run.workload.ttft_s for run in records])))
        _mark_expectation(axes, expected_s)
        axes.set(xscale="log", xlabel="time to first token, s", ylabel="share of requests", ylim=(0, 1.02))
        axes.xaxis.set_major_formatter("{x:g}")
        legend_of(figure, looks, plain=looks)
    return figure


def qoe_distribution(records: Sequence[RunRecord]) -> Figure:
    """Share of requests whose QoE is at most a value; runs of one scheduler are pooled, unfinished requests at their bound."""
    looks = styles_for(schedulers_of(records))
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
        axes = figure.subplots()
        for name, look in looks.items():
            qoe, shares = _distribution(_pooled(records, name, "qoe"))
            edges = np.concatenate([[0.0], qoe, [1.0]]), np.concatenate([[0.0], shares, [1.0]])
            axes.plot(*edges, color=look.color, linestyle=look.dash, drawstyle="steps-post")
        axes.set(xlabel="QoE of a request, 0 to 1", ylabel="share of requests", xlim=(0, 1.01), ylim=(0, 1.02))
        _note_unfinished(axes, sum(int((~run.finished).sum()) for run in records))
        legend_of(figure, looks, plain=looks)
    return figure


def learning_curve(
    steps: ArrayLike, eval_qoe: ArrayLike, references: Mapping[str, float] | None = None, name: str = "learned"
) -> Figure:
    """QoE on held-out workloads against training steps.

    Args:
        steps: Environment steps at each evaluation. Shape (m,).
        eval_qoe: Mean QoE at each evaluation. Shape (m,), or (seeds, m): then the median, and the range as a band.
        references: QoE of other schedulers on the same workloads, drawn as horizontal lines.
        name: Scheduler whose look the curve takes.
    """
    return learning_curves({name: (steps, eval_qoe)}, references)


def learning_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], references: Mapping[str, float] | None = None
) -> Figure:
    """Several trainings in one panel; arguments as in `learning_curve`, steps and QoE by name."""
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.3), layout="constrained")
        axes = figure.subplots()
        looks = styles_for([*curves, *(references or {})])
        for name, (steps, eval_qoe) in curves.items():
            values = np.atleast_2d(np.asarray(eval_qoe, dtype=np.float64))
            _draw_band(axes, looks[name], np.asarray(steps, dtype=np.float64), values)
        for other, level in (references or {}).items():
            axes.axhline(level, color=looks[other].color, linestyle=looks[other].dash, linewidth=1.5)
        axes.set(xlabel="training steps", ylabel="evaluation QoE, mean")
        axes.xaxis.set_major_formatter(_thousands)
        legend_of(figure, looks, plain=references or {})
    return figure


def save(figure: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Write a figure as `stem`.svg and `stem`.png; the same data give the same files."""
    svg, png = (Path(f"{stem}.{ending}") for ending in ("svg", "png"))
    svg.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(svg_text(figure), encoding="utf-8")
    png.write_bytes(png_bytes(figure))
    return svg, png


def png_bytes(figure: Figure, dpi: int = 160) -> bytes:
    """A figure as a PNG file, at so many pixels per inch."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def schedulers_of(records: Iterable[RunRecord]) -> list[str]:
    """Scheduler names in order of appearance.

    Raises:
        ValueError: If there is no run.
    """
    names = list(dict.fromkeys(run.scheduler for run in records))
    if not names:
        raise ValueError("a figure needs at least one run")
    return names


def _by_load(
    runs: Mapping[float, Sequence[RunRecord]], name: str, key: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loads at which a scheduler ran, and its metric there: one column for each load, short columns padded with NaN."""
    mine = {load: [summarize(run)[key] for run in records if run.scheduler == name] for load, records in runs.items()}
    mine = {load: values for load, values in mine.items() if values}
    most = max(map(len, mine.values()))
    columns = [values + [np.nan] * (most - len(values)) for values in mine.values()]
    return np.array(list(mine)), np.array(columns).T


def _draw_band(axes: Axes, look: SchedulerStyle, x: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Median over rows as a line, their range as a band."""
    axes.plot(x, np.nanmedian(values, axis=0), color=look.color, marker=look.marker, linestyle=look.dash, clip_on=False)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)


def _distribution(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the cumulative distribution, NaN counted as 'never'."""
    seen = np.sort(values[np.isfinite(values)])
    places = (
        np.unique(np.linspace(0, max(len(seen) - 1, 0), CURVE_POINTS).astype(int)) if len(seen) else np.zeros(0, int)
    )
    return seen[places], (places + 1) / len(values)


def _pooled(records: Sequence[RunRecord], name: str, column: str) -> NDArray[np.float64]:
    return np.concatenate([getattr(run, column) for run in records if run.scheduler == name])


def _note_unfinished(axes: Axes, requests: int) -> None:
    if requests:
        text = f"upper bounds: {requests} requests unfinished"
        axes.text(0.02, 0.03, text, transform=axes.transAxes, color=GREY, fontsize=9)


def _mark_expectation(axes: Axes, ttft_s: float) -> None:
    axes.axvline(ttft_s, color=GREY, linewidth=1.0, linestyle=(0, (1, 2)))
    where = (ttft_s, 1.0)
    text = f"readers expect {ttft_s:.3g} s"
    axes.annotate(
        text, where, (0, 4), axes.get_xaxis_transform(), textcoords="offset points", color=GREY, fontsize=9, ha="center"
    )


def _thousands(value: float, _position: float) -> str:
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
