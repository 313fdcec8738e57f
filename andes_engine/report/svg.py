"""A figure as SVG text: no date, no metadata, short numbers; for a file, or to stand inside an HTML page."""

from __future__ import annotations

import io
import re

from markupsafe import escape
from matplotlib.figure import Figure

from andes_engine.report.style import house_style

METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_text(figure: Figure) -> str:
    """The figure as an SVG document, small: coordinates, not texts, keep two decimals, a hundredth of a point; paths are short."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata=METADATA)
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag.group()), svg)
    svg = re.sub(r'\bd="([^"]*)"', lambda path: f'd="{short_path(path.group(1))}"', svg)
    return re.sub(r"\n\s*", "\n", svg)


def short_path(path: str) -> str:
    """The same path, with lines along an axis as `H x` or `V y` and without lines of no length: half of a staircase."""
    parts: list[str] = []
    before: list[str] = []
    for command, rest in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = rest.split()
        here = numbers[-2:] or before
        same = [one == other for one, other in zip(before, here, strict=False)]
        if command != "L" or not any(same):
            parts.append(command + " ".join(numbers))
        elif not all(same):
            parts.append(f"V{here[1]}" if same[0] else f"H{here[0]}")
        before = here
    return "".join(parts)


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
