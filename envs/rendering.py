"""What an environment shows of its engine: a line of text, or a small picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.observation import FEATURES
from andes_engine.records import RunRecord

_BARS = ("running_share", "kv_used", "running_late", "waiting_late", "qoe", "preempted")
_INDEX = {feature.name: number for number, feature in enumerate(FEATURES)}


def tell(now_s: float, record: RunRecord, observation: NDArray[np.float32]) -> str:
    """One line: time, requests finished, best-case QoE, and the shares of `_BARS`."""
    shares = "  ".join(f"{name} {observation[_INDEX[name]]:.2f}" for name in _BARS)
    done = int(record.finished.sum())
    return f"t {now_s:7.1f} s  finished {done}/{len(record.workload)}  best-case QoE {record.qoe.mean():.3f}  {shares}"


def draw(now_s: float, record: RunRecord, observation: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The shares as bars, and QoE of the requests in order of arrival. Shape (240, 640, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.barh(_BARS, [observation[_INDEX[name]] for name in _BARS], color="#0072b2")
    left.set(xlim=(0, 1), title=f"t = {now_s:.0f} s")
    right.plot(record.workload.arrival_s, record.qoe, ".", markersize=3, color="#d55e00")
    right.set(ylim=(0, 1.03), xlabel="arrival, s", title="best-case QoE per request")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
