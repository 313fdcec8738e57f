"""Performance profiles: the share of requests, or of runs, that do better than a mark, for every mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from andes_engine.report.style import WIDTH_IN, house_style, style_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One contender's profile. Arrays have shape (marks,).

    Args:
        contender: Name.
        of: What is counted: `requests` or `runs`.
        marks: QoE to exceed.
        share: Share with QoE above each mark.
        low: Lower bound, mark by mark; NaN without an interval.
        high: Upper bound.
    """

    contender: str
    of: str
    marks: FloatArray
    share: FloatArray
    low: FloatArray
    high: FloatArray


def performance_profiles(profiles: Sequence[Profile]) -> Figure:
    """Profiles as curves with their pointwise 95 % bands; higher is better.

    Raises:
        ValueError: If there is no profile, or they count different things.
    """
    kinds = {profile.of for profile in profiles}
    if len(kinds) != 1:
        raise ValueError(f"a figure needs profiles of one kind, requests or runs; got {sorted(kinds) or 'none'}")
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
        axes = figure.subplots()
        handles = []
        for profile in profiles:
            look = style_of(profile.contender)
            axes.plot(profile.marks, profile.share, color=look.color, linestyle=look.dash)
            axes.fill_between(profile.marks, profile.low, profile.high, color=look.color, alpha=0.15, linewidth=0)
            handles.append(Line2D([], [], color=look.color, linestyle=look.dash, label=profile.contender))
        axes.set(xlabel="QoE, τ", ylabel=f"share of {kinds.pop()} with QoE > τ", xlim=(0, 1), ylim=(0, 1.02))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=2.4)
    return figure
