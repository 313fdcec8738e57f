"""Pages that are generated, never typed: sections of text, tables and figures as Markdown, the figures in files beside them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from agents.compare_report import file_stem
from andes_engine.report.figures import png_bytes
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.report.html import ReportFigure
from andes_engine.report.provenance import commit, versions
from andes_engine.report.svg import svg_text

PIXELS_PER_INCH, COLORS = 72, 24


@dataclass(frozen=True, slots=True)
class Section:
    """One section: heading, sentences, tables and figures."""

    title: str
    text: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    figures: tuple[ReportFigure, ...] = ()


def write_page(
    folder: Path, page: str, figures: Path, title: str, head: Sequence[str], sections: Sequence[Section], took_s: float
) -> Path:
    """Write a page and its figures.

    Args:
        folder: Where the page goes.
        page: Its file name.
        figures: Folder of the figures inside `folder`.
        title: Heading.
        head: What stands before the sections.
        sections: The rest.
        took_s: How long it took to make, s.
    """
    parts = [f"# {title}", *head]
    (folder / figures).mkdir(parents=True, exist_ok=True)
    for section in sections:
        parts += [f"## {section.title}", *section.text]
        parts += [_picture(folder, figures, entry) for entry in section.figures]
        parts += [to_markdown(*section.grids, heading=section.title).strip()] if section.grids else []
    packages = ", ".join(f"{package} {number}" for package, number in versions().items())
    parts.append(f"Made at commit `{commit()}` in {took_s / 60.0:.1f} min with {packages}.")
    path = folder / page
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return path


def _few_colors(png: bytes) -> bytes:
    """A drawing with so many colours, a fifth of the size, not dithered: a third are those of most of it, the rest far apart."""
    whole, buffer = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    found, counts = np.unique(np.asarray(whole).reshape(-1, 3), axis=0, return_counts=True)
    areas = found[np.argsort(-counts)[: COLORS // 3]]
    lines = whole.quantize(COLORS - len(areas), method=Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*areas.ravel().tolist(), *(lines or ())])
    drawn = whole.quantize(palette=palette, dither=Image.Dither.NONE)
    drawn.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _picture(folder: Path, figures: Path, entry: ReportFigure) -> str:
    drawings = {".svg": svg_text(entry.figure).encode(), ".png": _few_colors(_crisp_png(entry.figure))}
    ending = min(drawings, key=lambda ending: len(drawings[ending]))
    place = (figures / file_stem(entry.title)).with_suffix(ending)
    (folder / place).write_bytes(drawings[ending])
    return f"![{entry.title}]({place.as_posix()})\n\n{entry.caption}"


def _crisp_png(figure: Figure) -> bytes:
    """Pixels with hard edges, of which many repeat; letters keep their soft ones."""
    drawn: list[Any] = figure.findobj(lambda part: hasattr(part, "set_antialiased") and not isinstance(part, Text))
    soft = [part.get_antialiased() for part in drawn]
    try:
        for part in drawn:
            part.set_antialiased(False)
        return png_bytes(figure, PIXELS_PER_INCH)
    finally:
        for part, before in zip(drawn, soft, strict=True):
            part.set_antialiased(before)
