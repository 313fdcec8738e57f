"""How figures look: one colour, marker and dash for each scheduler everywhere, colour-blind safe (Okabe and Ito 2008)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from zlib import crc32

import matplotlib

GREY = "#5f6368"
WIDTH_IN = 8.6
"""Width of every figure; at 72 points per inch it fits a README column unscaled."""


class SchedulerStyle(NamedTuple):
    """Look of one scheduler."""

    color: str
    marker: str
    dash: Literal["-", "--", "-.", ":"]


STYLES: dict[str, SchedulerStyle] = {
    "fcfs": SchedulerStyle("#5f6368", "s", "--"),
    "fcfs_reserve": SchedulerStyle("#9aa0a6", "d", ":"),
    "andes": SchedulerStyle("#0072b2", "o", "-"),
    "tuned_andes": SchedulerStyle("#56b4e9", "D", "-"),
    "learned": SchedulerStyle("#d55e00", "^", "-"),
    "srpt": SchedulerStyle("#009e73", "v", ":"),
    "round_robin": SchedulerStyle("#e69f00", "P", "-."),
    "least_qoe": SchedulerStyle("#cc79a7", "X", "-."),
    "deadline": SchedulerStyle("#882255", "<", "-."),
    "buffer_aware": SchedulerStyle("#8c7a00", ">", "-."),
}

SPARE: tuple[SchedulerStyle, ...] = (
    SchedulerStyle("#332288", "h", ":"),
    SchedulerStyle("#44aa99", "p", ":"),
    SchedulerStyle("#aa4499", "*", ":"),
    SchedulerStyle("#117733", "d", ":"),
)

RC: dict[Any, Any] = {
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#80868b",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e6e9",
    "grid.linewidth": 0.8,
    "xtick.color": "#3c4043",
    "ytick.color": "#3c4043",
    "xtick.bottom": False,  # the grid says where
    "ytick.left": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "andes-rl",
    "path.simplify": True,
    "path.simplify_threshold": 0.4,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with the project's settings, and leave the user's own untouched."""
    with matplotlib.rc_context(RC):
        yield


def style_of(scheduler: str) -> SchedulerStyle:
    """Look of a scheduler by name; a variant such as 'andes:dt=30' looks like its family, an unknown name is stable."""
    name = scheduler.lower().replace("-", "_").replace(" ", "_")
    family = max((known for known in STYLES if name.startswith(known)), key=len, default="")
    return STYLES[family] if family else SPARE[crc32(name.encode()) % len(SPARE)]


def styles_for(names: Sequence[str]) -> dict[str, SchedulerStyle]:
    """Looks of schedulers that stand in one figure: `style_of`, except that none looks like one before it while looks last."""
    looks: dict[str, SchedulerStyle] = {}
    for name in names:
        free = [look for look in (style_of(name), *SPARE, *STYLES.values()) if look not in looks.values()]
        looks.setdefault(name, free[0] if free else style_of(name))
    return looks
