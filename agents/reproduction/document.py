"""REPRODUCTION.md and its figures: generated, never typed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from agents.compare_report import file_stem
from agents.reproduction.section import Section, claims_grid
from andes_engine.report.figures import png_bytes
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.report.html import ReportFigure, write_report
from andes_engine.report.provenance import commit, versions
from andes_engine.report.svg import svg_text

PAGE, FIGURES = "REPRODUCTION.md", Path("docs") / "reproduction"
LARGEST_SVG_BYTES = 60_000
"""A drawing that takes more is kept as pixels: the repository stays small."""

TITLE = "The Andes paper, made again in the simulator"
INTRODUCTION = (
    "Simulated, every run drained, on held-out seeds; QoE is the headline form of METRICS.md; loads are shares of what FCFS "
    "saturates at. The paper's models and traces are not at hand: presets with measured step times stand in for the models "
    "(conf/suite/paper.yaml says which), length families with the published moments for the datasets. What can agree is the "
    "shape, not the digits."
)


def write_document(folder: Path, command: str, sections: Sequence[Section], took_s: float) -> Path:
    """Write the page and its figures into `folder`; returns the page."""
    parts = [
        f"# {TITLE}",
        f"Written by `{command}`; do not edit. {INTRODUCTION}",
        "## Claims",
        _count(sections),
        to_markdown(_claims(sections)),
    ]
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    for section in sections:
        parts += [f"## {section.title}", *section.text]
        parts += [_picture(folder, entry) for entry in section.figures]
        parts += [to_markdown(grid).strip() for grid in section.grids]
    packages = ", ".join(f"{package} {number}" for package, number in versions().items())
    parts.append(f"Made at commit `{commit()}` in {took_s / 60.0:.1f} min with {packages}.")
    page = folder / PAGE
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return page


def write_html(path: Path, sections: Sequence[Section], provenance: dict[str, object]) -> Path:
    """The same as one self-contained page."""
    sentences = [_count(sections), INTRODUCTION, *(line for section in sections for line in section.text)]
    grids = [_claims(sections), *(grid for section in sections for grid in section.grids)]
    figures = [entry for section in sections for entry in section.figures]
    return write_report(path, TITLE, sentences, grids, figures, provenance)


def _claims(sections: Sequence[Section]) -> Grid:
    return claims_grid([claim for section in sections for claim in section.claims])


def _count(sections: Sequence[Section]) -> str:
    holds = [claim.holds for section in sections for claim in section.claims]
    counts = {verdict: holds.count(verdict) for verdict in ("yes", "partly", "no")}
    return (
        f"Of {len(holds)} published claims {counts['yes']} hold here, {counts['partly']} hold in direction, "
        f"{counts['no']} do not."
    )


def _few_colors(figure: Figure) -> bytes:
    """A drawing as a PNG of 64 colours, a fifth of the size."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png_bytes(figure))).convert("RGB").quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _picture(folder: Path, entry: ReportFigure) -> str:
    svg, place = svg_text(entry.figure).encode(), FIGURES / file_stem(entry.title)
    small = len(svg) <= LARGEST_SVG_BYTES
    place = place.with_suffix(".svg" if small else ".png")
    (folder / place).write_bytes(svg if small else _few_colors(entry.figure))
    return f"![{entry.title}]({place.as_posix()})\n\n{entry.caption}"
