"""The page of measured statements: tables, one figure, and what it was made with. Generated, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from andes_engine.report.grid import to_markdown
from andes_engine.report.provenance import commit, versions
from andes_engine.report.shape import Outcomes, Statement, measure, statement_grid
from andes_engine.report.shape_settings import STATEMENTS
from andes_engine.report.style import WIDTH_IN, house_style, style_of
from andes_engine.report.svg import svg_text

PAGE, FIGURE = "SHAPE.md", "shape_burst.svg"


def write_page(folder: Path, seeds: Sequence[int], names: Sequence[str]) -> Path:
    """Measure the statements called `names` over `seeds` and write page and figure into `folder`; returns the page."""
    parts = [
        "# The paper's statements, measured",
        "Written by `make shape`; do not edit. Simulated, every run drained; QoE is the headline form of METRICS.md.",
    ]
    for name in names:
        statement = STATEMENTS[name]
        outcomes = measure(statement, seeds)
        parts += [f"## {statement.title}", f"Source of the statement: {statement.source}."]
        if name == "burst":
            (folder / FIGURE).write_text(svg_text(burst_figure(statement, outcomes)), encoding="utf-8")
            parts.append(f"![Mean QoE of FCFS and Andes in each case]({FIGURE})")
        parts.append(to_markdown(statement_grid(statement, outcomes)))
    packages = ", ".join(f"{package} {number}" for package, number in versions().items())
    parts.append(f"Made at commit `{commit()}` with {packages}; seeds {', '.join(map(str, seeds))}.")
    page = folder / PAGE
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def burst_figure(statement: Statement, outcomes: Outcomes) -> Figure:
    """Median mean QoE of each arm, case by case, with the range over seeds."""
    places = np.arange(len(statement.cases))[::-1]
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 0.8 + 0.24 * len(places)), layout="constrained")
        axes = figure.subplots()
        for arm in statement.arms:
            values = np.array([outcomes[case.name, arm.name]["qoe_mean"] for case in statement.cases])
            look, middle = style_of(arm.scheduler), np.median(values, axis=1)
            spread = np.abs(np.stack([values.min(axis=1), values.max(axis=1)]) - middle)
            axes.errorbar(middle, places, xerr=spread, fmt=look.marker, color=look.color, label=arm.name)
        axes.set_yticks(places, [case.name for case in statement.cases])
        axes.set(xlabel="mean QoE", xlim=(0.0, 1.03))
        axes.legend(loc="lower right")
    return figure
