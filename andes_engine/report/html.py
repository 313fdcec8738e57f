"""One self-contained HTML page: summary first, then tables and figures, then where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from andes_engine.report.grid import Grid
from andes_engine.report.svg import inline_svg


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure with what it shows.

    Args:
        figure: The drawing.
        title: Its name, also read aloud by screen readers.
        caption: How to read it.
    """

    figure: Figure
    title: str
    caption: str


def write_report(
    path: str | Path,
    title: str,
    summary_sentences: Sequence[str],
    tables: Sequence[Grid],
    figures: Sequence[ReportFigure],
    provenance: Mapping[str, object],
) -> Path:
    """Write the page; it needs no other file and no network.

    Args:
        path: Where to; folders are made.
        title: Heading of the page.
        summary_sentences: The result in words; the first is the most important and is set larger.
        tables: Tables, in order.
        figures: Figures, in order.
        provenance: Names and values, nested once at most; see `andes_engine.report.provenance.provenance`.
    """
    environment = Environment(
        loader=PackageLoader("andes_engine.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html.jinja").render(
        title=title,
        summary=list(summary_sentences),
        tables=tables,
        figures=[
            (entry, Markup(inline_svg(entry.figure, entry.title, f"f{place}-")))
            for place, entry in enumerate(figures, 1)
        ],
        provenance=provenance,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path
