"""Token timelines: the same request under each scheduler, as its reader expects it, gets it and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from andes_engine.qoe import reader_lag
from andes_engine.records import RunRecord
from andes_engine.report.legend import shortened
from andes_engine.report.style import WIDTH_IN, house_style, styles_for

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GRID_POINTS = 60
"""Points of a curve between its stalls: a smooth stretch needs no more."""

MOST_COLUMNS = 4
"""More runs than this go on to another line of panels."""

EXPECTED: dict[str, Any] = {"color": "#202124", "linestyle": (0, (4, 3)), "linewidth": 1.1}
"""Look of what a reader expects; drawn on top, since a reader who is served well consumes on that very line."""

_TITLE_CHARACTERS = {1: 60, 2: 44, 3: 28, 4: 20}

STALL_S = 0.25
"""A gap between two deliveries that is drawn with both its corners."""


def token_timelines(records: Sequence[RunRecord], requests: Sequence[int]) -> Figure:
    """Small multiples: a row for each request, a column for each run; more than four runs take several rows.

    Args:
        records: Runs of one workload, with recorded token times.
        requests: Requests to show, by place in order of arrival. `typical_requests` chooses some without picking cherries.

    Raises:
        ValueError: If there is nothing to show, token times were not recorded, or the workloads differ.
    """
    _check(records, requests)
    lines = -(-len(records) // MOST_COLUMNS)
    columns = -(-len(records) // lines)
    looks = styles_for([run.scheduler for run in records])
    with house_style():
        size = (WIDTH_IN, 0.7 + 2.05 * len(requests) * lines)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(requests) * lines, columns, squeeze=False)
        for request, block in zip(requests, panels.reshape(len(requests), lines * columns), strict=True):
            shown = block[: len(records)]
            ends = [
                draw_timeline(axes, run, request, looks[run.scheduler].color)
                for axes, run in zip(shown, records, strict=True)
            ]
            end_s, tokens = np.max(ends, axis=0)
            for axes in shown:
                axes.set(xlim=(0.0, 1.04 * end_s), ylim=(0.0, 1.05 * tokens))
                axes.tick_params(labelleft=axes in block[::columns], labelbottom=True)
            for axes in block[::columns]:
                axes.set_ylabel(f"request {request}\ntokens")
            if lines > 1 or block[0] is panels[0, 0]:
                for axes, run in zip(shown, records, strict=True):
                    title = shortened(run.scheduler, _TITLE_CHARACTERS[columns])
                    axes.set_title(title, color=looks[run.scheduler].color, fontsize=9.5)
            for axes in block[len(records) :]:
                axes.set_visible(False)
        for axes in panels[-1]:
            axes.set_xlabel("time after arrival, s")
        figure.legend(handles=_handles(), loc="outside upper left", ncols=4)
    return figure


def typical_requests(
    candidate: RunRecord, reference: RunRecord, shares: Sequence[float] = (0.05, 0.5, 0.95)
) -> list[int]:
    """Requests at given quantiles of the QoE difference: one that lost, one in the middle, one that gained."""
    order = np.argsort(candidate.qoe - reference.qoe, kind="stable")
    places = [int(order[round(share * (len(order) - 1))]) for share in shares]
    return list(dict.fromkeys(places))


def timeline(run: RunRecord, request: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Expected, delivered and consumed time of each delivered token, s after arrival. Each of shape (delivered tokens,).

    Consumed is computed from delivered through the reader's pace, as QoE does it.
    """
    asked = run.workload
    ttft_s, latency_s = float(asked.ttft_s[request]), float(asked.latency_s[request])
    delivered: FloatArray = np.maximum(run.token_s[request] - asked.arrival_s[request], 0.0)
    expected: FloatArray = ttft_s + latency_s * np.arange(len(delivered), dtype=np.float64)
    lag = reader_lag(delivered, ttft_s, latency_s) if len(delivered) else np.zeros(0)
    return expected, delivered, expected + lag


def draw_timeline(axes: Axes, run: RunRecord, request: int, color: str) -> tuple[float, float]:
    """Draw one request of one run into a panel; returns the time of its last point, s, and its tokens."""
    expected, delivered, consumed = timeline(run, request)
    shown = _shown(delivered)
    tokens = shown + 1.0
    expected, delivered, consumed = expected[shown], delivered[shown], consumed[shown]
    axes.fill_betweenx(tokens, expected, consumed, color=color, alpha=0.16, linewidth=0)
    axes.plot(expected, tokens, **EXPECTED, zorder=3)
    axes.plot(delivered, tokens, color=color, linewidth=1.2, linestyle=":", drawstyle="steps-post")
    axes.plot(consumed, tokens, color=color, linewidth=2.2)
    bound = "" if run.finished[request] else " ≤"
    axes.text(0.97, 0.06, f"QoE{bound} {run.qoe[request]:.2f}", transform=axes.transAxes, ha="right", weight="bold")
    end_s = float(consumed[-1]) if len(consumed) else float(run.workload.ttft_s[request])
    return end_s, float(tokens[-1]) if len(tokens) else 1.0


def _shown(delivered: FloatArray) -> IntArray:
    """Tokens to draw: an even grid, and both sides of every stall, where the curves have their corners."""
    last = max(len(delivered) - 1, 0)
    grid = np.linspace(0, last, min(GRID_POINTS, len(delivered))).round().astype(np.int64)
    after = np.flatnonzero(np.diff(delivered) > STALL_S) + 1
    return np.unique(np.concatenate([grid, after - 1, after]))


def _handles() -> list[Line2D | Patch]:
    return [
        Line2D([], [], **EXPECTED, label="reader expects"),
        Line2D([], [], color="black", linestyle=":", linewidth=1.2, label="server delivers"),
        Line2D([], [], color="black", linewidth=2.2, label="reader consumes"),
        Patch(color="black", alpha=0.16, linewidth=0, label="lag"),
    ]


def _check(records: Sequence[RunRecord], requests: Sequence[int]) -> None:
    if not records or not requests:
        raise ValueError("need at least one run and one request")
    if len({run.workload.fingerprint for run in records}) != 1:
        raise ValueError("timelines compare one request across runs, so all runs need the same workload")
    for run in records:
        if not run.token_s:
            raise ValueError(f"run '{run.scheduler}' has no token times; run it again with token_log=True")
    if not all(0 <= request < len(records[0].workload) for request in requests):
        raise ValueError(f"requests {list(requests)} are not all within 0..{len(records[0].workload) - 1}")
