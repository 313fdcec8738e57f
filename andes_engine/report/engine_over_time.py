"""One workload under each scheduler as the engine saw it: memory, queue and preemptions over time, and a policy's knobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from andes_engine.action import ActionSpec
from andes_engine.knobs import Knob, knob
from andes_engine.report.legend import legend_of
from andes_engine.report.style import GREY, WIDTH_IN, house_style, styles_for
from andes_engine.sim.sampled import EngineSamples

_ROWS: tuple[tuple[str, Callable[[EngineSamples], NDArray[np.float64]]], ...] = (
    ("KV blocks in use,\nshare", lambda seen: seen.kv_used),
    ("waiting,\nrequests", lambda seen: seen.waiting.astype(np.float64)),
    ("preemptions\nso far", lambda seen: seen.preemptions.astype(np.float64)),
)


def engine_over_time(samples: Mapping[str, EngineSamples]) -> Figure:
    """KV use, queue length and preemptions over engine time, a line for each scheduler.

    Args:
        samples: What was sampled, by scheduler; of one workload.

    Raises:
        ValueError: If there is nothing to show.
    """
    _check(samples)
    looks = styles_for(list(samples))
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 5.6), layout="constrained")
        panels = figure.subplots(len(_ROWS), 1, sharex=True)
        for axes, (label, values) in zip(panels, _ROWS, strict=True):
            for name, seen in samples.items():
                axes.plot(seen.at_s, values(seen), color=looks[name].color, linestyle=looks[name].dash, linewidth=1.3)
            axes.set_ylabel(label, fontsize=9.5)
            axes.set_ylim(bottom=0.0)
        panels[0].set_ylim(0.0, 1.03)
        panels[0].set_xlim(0.0, max(float(seen.at_s[-1]) for seen in samples.values()) or None)
        panels[-1].set_xlabel("engine time, s")
        legend_of(figure, looks, plain=looks)
    return figure


def knobs_over_time(samples: Mapping[str, EngineSamples], actions: Mapping[str, ActionSpec]) -> Figure:
    """The knobs that policies set, over engine time: a panel for each knob, a line for each policy, its reference dashed.

    Args:
        samples: What was sampled, by policy.
        actions: Which knobs each policy moves, and around which reference.

    Raises:
        ValueError: If there is nothing to show.
    """
    _check(actions)
    looks = styles_for(list(samples))
    names = list(dict.fromkeys(name for action in actions.values() for name in action.names))
    rows = -(-len(names) // 2)
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 0.7 + 1.3 * rows), layout="constrained")
        panels = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            for policy, action in actions.items():
                if name in action.names:
                    seen, look = samples[policy], looks[policy]
                    axes.axhline(action.knobs[name], color=GREY, linestyle=(0, (4, 3)), linewidth=1.0)
                    axes.step(
                        seen.at_s, seen.knob(name), where="pre", color=look.color, linestyle=look.dash, linewidth=1.3
                    )
            _label(axes, knob(name))
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("engine time, s", fontsize=10)
        legend_of(figure, {name: looks[name] for name in actions}, plain=looks)
    return figure


def _label(axes: Axes, shown: Knob) -> None:
    unit = "" if shown.unit == "1" or shown.name.endswith(f"_{shown.unit}") else f", {shown.unit}"
    axes.set_title(f"{shown.name}{unit}", fontsize=9)
    axes.tick_params(labelsize=8.5)
    if shown.log:
        wide = shown.high > 30.0 * shown.low
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=5))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        margin = (shown.high / shown.low) ** 0.06
        axes.set_ylim(shown.low / margin, shown.high * margin)
    else:
        margin = 0.06 * (shown.high - shown.low)
        axes.set_ylim(shown.low - margin, shown.high + margin)


def _check(shown: Mapping[str, object]) -> None:
    if not shown:
        raise ValueError("a figure over time needs at least one sampled run")
