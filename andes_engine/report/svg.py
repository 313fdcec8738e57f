"""A figure as SVG text: no date, no metadata, short numbers; for a file, or to stand inside an HTML page."""

from __future__ import annotations

import io
import re

from markupsafe import escape
from matplotlib.figure import Figure

from andes_engine.report.style import house_style

METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_text(figure: Figure) -> str:
    """The figure as an SVG document. Coordinates, not texts, keep two decimals, a hundredth of a point: half the file."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata=METADATA)
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag.group()), svg)


def inline_svg(figure: Figure, title: str, prefix: str) -> str:
    """The figure as an SVG element.

    Args:
        figure: The drawing.
        title: Text for screen readers.
        prefix: Put before every id: ids must be unique in a page, and matplotlib repeats them in each figure.
    """
    svg = svg_text(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
