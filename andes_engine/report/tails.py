"""Those who are served worst and best: tail shares and quantiles of each scheduler as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from andes_engine.metrics import LATE_S, PERFECT
from andes_engine.records import RunRecord
from andes_engine.report.figures import schedulers_of
from andes_engine.report.legend import shortened
from andes_engine.report.style import WIDTH_IN, house_style, styles_for

FloatArray = NDArray[np.float64]


class Tail(NamedTuple):
    """One panel: its title, its axis, and its number from QoE and mean lag in s of all requests."""

    title: str
    axis: str
    value: Callable[[FloatArray, FloatArray], float]


TAILS: tuple[Tail, ...] = (
    Tail(f"> {LATE_S:g} s late", "share of requests", lambda qoe, late_s: float((late_s > LATE_S).mean())),
    Tail("QoE p5", "QoE, 0 to 1", lambda qoe, late_s: float(np.quantile(qoe, 0.05))),
    Tail("QoE p10", "QoE, 0 to 1", lambda qoe, late_s: float(np.quantile(qoe, 0.10))),
    Tail("QoE ≥ .9", "share of requests", lambda qoe, late_s: float((qoe >= 0.90).mean())),
    Tail("QoE ≥ .95", "share of requests", lambda qoe, late_s: float((qoe >= 0.95).mean())),
    Tail("QoE = 1", "share of requests", lambda qoe, late_s: float((qoe >= PERFECT).mean())),
)


def tail_bars(records: Sequence[RunRecord]) -> Figure:
    """A panel for each of `TAILS`, a bar for each scheduler; all its requests are pooled.

    Raises:
        ValueError: If there is no run.
    """
    looks = styles_for(schedulers_of(records))
    rows = [[run for run in records if run.scheduler == name] for name in looks]
    qoe = [np.concatenate([run.qoe for run in runs]) for runs in rows]
    late_s = [np.concatenate([run.lateness_s for run in runs]) for runs in rows]
    places = np.arange(len(looks))[::-1]
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 1.6 + 0.5 * len(looks)), layout="constrained")
        panels = figure.subplots(2, 3, sharey=True).ravel()
        for axes, tail in zip(panels, TAILS, strict=True):
            values = [tail.value(*pair) for pair in zip(qoe, late_s, strict=True)]
            bars = axes.barh(places, values, color=[look.color for look in looks.values()], height=0.7)
            axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=3, fontsize=8.5)
            axes.set(xlim=(0.0, max(1.25 * max(values), 0.05) if tail is TAILS[0] else 1.25))
            axes.set_title(tail.title)
            axes.set_xlabel(tail.axis, fontsize=9)
            axes.tick_params(labelsize=8.5)
            axes.grid(visible=False, axis="y")
            axes.set_yticks(places, [shortened(name, 22) for name in looks])
            axes.xaxis.set_major_locator(MaxNLocator(3) if tail is TAILS[0] else FixedLocator([0.0, 0.5, 1.0]))
    return figure
