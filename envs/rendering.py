"""What an environment shows of the running episode: tokens of chosen requests, memory, queue and knobs so far; or text."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from andes_engine.action import ActionSpec
from andes_engine.observation import FEATURES
from andes_engine.records import RunRecord
from andes_engine.report.style import GREY, house_style
from andes_engine.report.timelines import EXPECTED, draw_timeline, timeline
from envs.trail import Trail

REQUESTS = 3
"""Requests whose tokens are shown."""

_SHARES = ("running_share", "kv_used", "running_late", "waiting_late", "qoe", "preempted")
_INDEX = {feature.name: number for number, feature in enumerate(FEATURES)}
_COLOR = "#0072b2"


def tell(now_s: float, record: RunRecord, observation: NDArray[np.float32], trail: Trail, action: ActionSpec) -> str:
    """Lines of text: time and outcome so far, what the observation says, knobs, and one line for each chosen request."""
    shares = "  ".join(f"{name} {observation[_INDEX[name]]:.2f}" for name in _SHARES)
    knobs = "  ".join(f"{name} {trail.knob(name)[-1]:.4g}" for name in action.names)
    head = (
        f"t {now_s:7.1f} s  finished {int(record.finished.sum())}/{len(record.workload)}  "
        f"best-case QoE {record.qoe.mean():.3f}  waiting {trail.waiting[-1]:.0f}  preemptions {trail.preemptions[-1]:.0f}"
    )
    requests = [_told(record, request, now_s) for request in chosen_requests(record, now_s)]
    return "\n".join([head, shares, f"knobs  {knobs}", *requests])


def draw(now_s: float, record: RunRecord, trail: Trail, action: ActionSpec) -> NDArray[np.uint8]:
    """Tokens of chosen requests; memory, queue and preemptions so far; actions so far. Shape (440, 1040, 3)."""
    with house_style():
        figure = Figure(figsize=(10.4, 4.4), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        parts: Any = figure.subfigures(1, 3, width_ratios=(1.0, 0.9, 1.25))
        tokens, engine, knobs = parts
        _draw_tokens(tokens, record, now_s)
        _draw_engine(engine, trail, now_s)
        _draw_actions(knobs, trail, action, now_s)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def chosen_requests(record: RunRecord, now_s: float) -> list[int]:
    """Who is shown: of the requests that have arrived, the worst, the middle and the best by QoE so far."""
    here = np.flatnonzero(record.workload.arrival_s <= now_s)
    if not len(here):
        return []
    order = here[np.argsort(record.qoe[here], kind="stable")]
    places = np.linspace(0, len(order) - 1, REQUESTS).round().astype(int)
    return list(dict.fromkeys(int(order[place]) for place in places))


def _told(record: RunRecord, request: int, now_s: float) -> str:
    age_s, asked = _age_s(record, request, now_s), record.workload.output_tokens[request]
    _, delivered, consumed = timeline(record, request)
    return (
        f"request {request}  age {age_s:.1f} s  tokens: expected {_due_tokens(record, request, now_s)}  "
        f"delivered {len(delivered)}  consumed {int((consumed <= age_s).sum())}  of {asked}  "
        f"QoE {'' if record.finished[request] else '<= '}{record.qoe[request]:.2f}"
    )


def _age_s(record: RunRecord, request: int, now_s: float) -> float:
    return float(now_s - record.workload.arrival_s[request])


def _due_tokens(record: RunRecord, request: int, now_s: float) -> int:
    """Tokens the reader expects to have had by now."""
    asked = record.workload
    late_s = _age_s(record, request, now_s) - asked.ttft_s[request]
    return 0 if late_s < 0.0 else min(int(late_s / asked.latency_s[request]) + 1, int(asked.output_tokens[request]))


def _draw_tokens(part: FigureBase, record: RunRecord, now_s: float) -> None:
    requests = chosen_requests(record, now_s)
    for axes, request in zip(part.subplots(REQUESTS, 1), [*requests, *[None] * REQUESTS], strict=False):
        if request is None:
            axes.set_visible(False)
            continue
        end_s, tokens = draw_timeline(axes, record, request, _COLOR)
        age_s, due = _age_s(record, request, now_s), _due_tokens(record, request, now_s)
        if due > tokens:  # timelines end with the last delivered token, a waiting reader's expectation does not
            ttft_s, latency_s = record.workload.ttft_s[request], record.workload.latency_s[request]
            axes.plot([ttft_s, ttft_s + latency_s * (due - 1)], [1, due], **EXPECTED)
        axes.axvline(age_s, color=GREY, linewidth=0.8)
        axes.set(xlim=(0.0, 1.04 * max(end_s, age_s)), ylim=(0.0, 1.05 * max(tokens, due)))
        axes.set_ylabel(f"request {request}\ntokens", fontsize=8.5)
        axes.tick_params(labelsize=8)
    part.suptitle("expected - -, delivered ···, consumed ––, | now", fontsize=8.5)
    part.supxlabel("time after arrival, s", fontsize=8.5)


def _draw_engine(part: FigureBase, trail: Trail, now_s: float) -> None:
    shown = (("KV in use, share", trail.kv_used), ("waiting", trail.waiting), ("preemptions", trail.preemptions))
    for axes, (label, values) in zip(part.subplots(len(shown), 1, sharex=True), shown, strict=True):
        axes.plot(trail.at_s, values, color=_COLOR, linewidth=1.5, marker="." if len(values) < 3 else "")
        axes.set(xlim=(0.0, max(now_s, 1.0)))
        axes.set_ylim(0.0, 1.03 if label.startswith("KV") else max(1.0, 1.05 * float(values.max())))
        axes.set_ylabel(label, fontsize=8.5)
        axes.tick_params(labelsize=8)
    part.suptitle(f"engine, t = {now_s:.0f} s", fontsize=8.5)
    part.supxlabel("engine time, s", fontsize=8.5)


def _draw_actions(part: FigureBase, trail: Trail, action: ActionSpec, now_s: float) -> None:
    """Each knob's way between its bounds as a strip of colours, with its value now."""
    axes = part.subplots()
    edges = trail.at_s if len(trail.at_s) > 1 else np.array([0.0, max(now_s, 1.0)])
    strips = trail.actions[1:] if len(trail.at_s) > 1 else trail.actions
    mesh = axes.pcolormesh(edges, np.arange(action.size + 1), strips.T, cmap="PuOr", vmin=-1.0, vmax=1.0)
    values = [f"{name} {trail.knob(name)[-1]:.4g}" for name in action.names]
    axes.set_yticks(np.arange(action.size) + 0.5, values, fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("engine time, s", fontsize=8.5)
    bar = part.colorbar(mesh, ax=axes, location="bottom", aspect=30, ticks=[-1.0, 0.0, 1.0])
    bar.ax.set_xticklabels(["lower bound", "reference", "upper bound"], fontsize=8)
    part.suptitle("knobs, with their values now", fontsize=8.5)
