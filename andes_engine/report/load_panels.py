"""QoE against load in many settings at once: one small panel for each, all on the same QoE axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.figure import Figure

from andes_engine.records import RunRecord
from andes_engine.report.figures import draw_load_curves, schedulers_of
from andes_engine.report.legend import legend_of
from andes_engine.report.style import WIDTH_IN, house_style, styles_for

COLUMNS = 4
_TITLE_CHARACTERS = {1: 90, 2: 46, 3: 30, 4: 23}

ByLoad = Mapping[float, Sequence[RunRecord]]


def qoe_load_panels(settings: Mapping[str, ByLoad], load_label: str = "load, requests/s") -> Figure:
    """Mean QoE against load, one panel for each setting and one line for each scheduler.

    Args:
        settings: Runs by load, by setting. Several runs of a scheduler at a load give the median as the line and the range
            as the band; a setting with one load gives points.
        load_label: What the load is, with its unit.

    Raises:
        ValueError: If there is no run.
    """
    every = [run for by_load in settings.values() for runs in by_load.values() for run in runs]
    looks = styles_for(schedulers_of(every))
    columns = 3 if len(settings) in (3, 5, 6, 9) else min(COLUMNS, len(settings))
    rows = -(-len(settings) // columns)
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 0.9 + 1.6 * rows), layout="constrained")
        same_loads = len({tuple(sorted(by_load)) for by_load in settings.values()}) == 1
        panels = figure.subplots(rows, columns, sharex=same_loads, sharey=True, squeeze=False).ravel()
        for place, (axes, (setting, by_load)) in enumerate(zip(panels, settings.items(), strict=False)):
            draw_load_curves(axes, dict(sorted(by_load.items())), looks, "qoe_mean")
            for drawn in (*axes.lines,):
                drawn.set(linewidth=1.5, markersize=4.0)
            axes.set(ylim=(-0.02, 1.03))
            axes.set_title(fill(setting, _TITLE_CHARACTERS[columns]), fontsize=8.5)
            axes.tick_params(labelsize=8.5)
            if same_loads:
                axes.tick_params(labelbottom=place + columns >= len(settings))
            if place % columns == 0:
                axes.set_ylabel("mean QoE", fontsize=9)
        for axes in panels[len(settings) :]:
            axes.set_visible(False)
        figure.supxlabel(load_label, fontsize=9.5)
        legend_of(figure, looks)
    return figure
