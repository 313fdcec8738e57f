"""Legends and names that fit: a figure has one legend above its panels, in as many columns as its names leave room for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from andes_engine.report.style import SchedulerStyle

LONGEST_NAME = 34
"""Characters of a name in a legend; the middle of a longer one is left out."""

_CHARACTER_IN, _HANDLE_IN, _ROW_IN = 0.085, 0.75, 0.23


def legend_of(figure: Figure, looks: Mapping[str, SchedulerStyle], plain: Collection[str] = ()) -> None:
    """Names with their looks above the panels, which keep their height; `plain` ones are drawn without markers."""
    handles = []
    for name, look in looks.items():
        marker = "" if name in plain else look.marker
        label = shortened(name, LONGEST_NAME)
        handles.append(Line2D([], [], color=look.color, linestyle=look.dash, marker=marker, label=label))
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(int(figure.get_figwidth() / (_HANDLE_IN + _CHARACTER_IN * widest)), len(handles)))
    figure.set_figheight(figure.get_figheight() + _ROW_IN * (-(-len(handles) // columns) - 1))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.4,
        columnspacing=1.6,
    )


def shortened(name: str, characters: int) -> str:
    """A name in at most so many characters: its beginning and its end, which tell variants of one family apart."""
    if len(name) <= characters:
        return name
    tail = (characters - 1) // 2
    return f"{name[: characters - 1 - tail]}…{name[len(name) - tail :]}"
