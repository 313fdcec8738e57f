"""The report of a comparison: figures over all its runs, and one workload looked at closely."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.lineage import mark_used
from agents.showcase import Showcase, showcase_figures
from agents.tracking import Tracker
from andes_engine.report.figures import qoe_against_load, qoe_distribution, save, schedulers_of, ttft_distribution
from andes_engine.report.grid import Grid
from andes_engine.report.html import ReportFigure, write_report
from andes_engine.report.load_panels import qoe_load_panels
from andes_engine.report.shown_run import ShownRun, by_setting
from andes_engine.report.tails import tail_bars


def write_comparison(
    folder: Path,
    title: str,
    sentences: Sequence[str],
    grids: Sequence[Grid],
    runs: Sequence[ShownRun],
    showcase: Showcase | None,
    provenance: Mapping[str, object],
    load_label: str = "load, requests/s",
    more: Sequence[ReportFigure] = (),
) -> tuple[Path, tuple[ReportFigure, ...]]:
    """Write `report.html`, and every figure as `figures/NAME.svg` and `.png`; returns the page and the figures.

    Args:
        folder: Directory of the comparison.
        title: Heading of the page.
        sentences: The result in words, the most important first.
        grids: Its tables.
        runs: Every run; at least one.
        showcase: What to look at over time, from `showcase.choose_showcase`; None leaves these figures out.
        provenance: From `andes_engine.report.provenance.provenance`.
        load_label: What the load of the runs is, with its unit.
        more: Further figures over all runs.
    """
    figures = [*overview_figures(runs, load_label), *more, *(showcase_figures(showcase) if showcase else ())]
    for entry in figures:
        save(entry.figure, folder / "figures" / file_stem(entry.title))
    page = write_report(folder / "report.html", title, sentences, grids, figures, provenance)
    return page, tuple(figures)


def publish(tracker: Tracker, grids: Sequence[Grid], figures: Sequence[ReportFigure], policy: str | None) -> None:
    """Hand tables, figures and the lineage of the policy that took part to a tracker."""
    for grid in grids:
        tracker.table(grid.title, grid)
    for entry in figures:
        tracker.figure(entry.title, entry.figure)
    if policy:
        mark_used(tracker, policy)


def overview_figures(runs: Sequence[ShownRun], load_label: str) -> list[ReportFigure]:
    """QoE against load where there are several loads, the distributions, and the tails."""
    records = [run.record for run in runs]
    settings = {name: by_load for name, by_load in by_setting(runs).items() if len(by_load) > 1}
    pooled = f"All requests of each contender's {_count(runs)} runs pooled"
    figures = [
        ReportFigure(ttft_distribution(records), "Time to first token", f"{pooled}; further left is sooner."),
        ReportFigure(
            qoe_distribution(records), "QoE of single requests", f"{pooled}; lower and further right is better."
        ),
        ReportFigure(
            tail_bars(records), "Tails", f"{pooled}. Late: mean lag behind the reader's expectation above 60 s."
        ),
    ]
    if settings:
        caption = "Median over workloads; the band is their range."
        drawn = (
            qoe_against_load(next(iter(settings.values())), load_label)
            if len(settings) == 1
            else qoe_load_panels(settings, load_label)
        )
        figures.insert(0, ReportFigure(drawn, "QoE against load", caption))
    return figures


def file_stem(title: str) -> str:
    """Name of a figure's files."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def _count(runs: Sequence[ShownRun]) -> str:
    counts = {sum(run.record.scheduler == name for run in runs) for name in schedulers_of(run.record for run in runs)}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
