"""A figure as SVG text: no date, no metadata, short numbers; for a file, or to stand inside an HTML page."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

from markupsafe import escape
from matplotlib.figure import Figure

from andes_engine.report.style import house_style

Point = tuple[Decimal, Decimal]

METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_text(figure: Figure) -> str:
    """The figure as an SVG document, small: coordinates, not texts, keep three or four digits, a tenth of a point at most."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata=METADATA)
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return compact(svg)


def compact(svg: str) -> str:
    """The same drawing in fewer bytes."""
    svg = re.sub(r"<[a-z][^>]*>", lambda tag: _short_numbers(tag.group()), svg)
    svg = re.sub(r"<!DOCTYPE[^>]*>\n", "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"', "", svg)  # what a text that is not turned has
    svg = re.sub(r'\bd="([^"]*)"', lambda path: f'd="{short_path(path.group(1))}"', svg)
    svg = re.sub(r'<path d="M[^A-Za-z"]*"[^>]*/>', "", svg)  # a point draws nothing
    svg = re.sub(r' clip-path="([^"]*)"([^>]*?) style="', r'\2 style="clip-path: \1; ', svg)
    return terse_styles(with_classes(one_font(short_names(without_names(re.sub(r"\n\s*", "\n", svg))))))


def _short_numbers(tag: str) -> str:
    return re.sub(r"(\d)\.0+(?!\d)", r"\1", re.sub(r"(\d\d\.\d|\d\.\d\d)\d+", r"\1", tag))


def one_font(svg: str) -> str:
    """The same drawing with its font named once, if all of its texts have the same."""
    named = set(re.findall(r"font-family: [^;\"}]*", svg))
    if len(named) != 1:
        return svg
    font = named.pop()
    return svg.replace(f"{font}; ", "").replace("</style>", f"text{{{font}}}</style>", 1)


def short_names(svg: str) -> str:
    """The same drawing with its names numbered in the order in which they appear."""
    names = {name: f"n{place}" for place, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]*)"', svg)))}
    return re.sub(
        r'(?<= id=")[^"]*|(?<=url\(#)[^)]*|(?<=href="#)[^"]*', lambda used: names.get(used.group(), used.group()), svg
    )


def without_names(svg: str) -> str:
    """The same drawing without the names that nothing refers to, and without groups that say nothing."""
    used = set(re.findall(r"(?<=url\(#)[^)]*", svg)) | set(re.findall(r'(?<=href="#)[^"]*', svg))
    svg = re.sub(r' id="([^"]*)"', lambda name: name.group() if name.group(1) in used else "", svg)
    parts: list[str] = []
    kept: list[bool] = []
    for part in re.split(r"(<g\b[^>]*>|</g>)", svg):
        opens = re.fullmatch(r"<g\b[^>]*[^/]>|<g>", part) is not None
        if opens:
            kept.append(part != "<g>")
        speaks = kept[-1] if opens else kept.pop() if part == "</g>" else True
        if speaks:
            parts.append(part)
    return re.sub(r"\n+", "\n", "".join(parts))


def with_classes(svg: str) -> str:
    """The same drawing with each style that is used three times or more written once, as a class of the style sheet."""
    counted = Counter(re.findall(r' style="([^"]*)"', svg))
    names = {style: f"s{place}" for place, (style, times) in enumerate(counted.most_common()) if times > 2}
    svg = re.sub(r' style="([^"]*)"', lambda found: _styled(found, names), svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace("</style>", f"{rules}</style>", 1)


def terse_styles(svg: str) -> str:
    """The same drawing without the spaces in its styles."""
    return re.sub(
        r' style="[^"]*"|<style.*?</style>',
        lambda style: re.sub(r"([:;]) ", r"\1", style.group()),
        svg,
        flags=re.DOTALL,
    )


def _styled(found: re.Match[str], names: Mapping[str, str]) -> str:
    name = names.get(found.group(1))
    return f' class="{name}"' if name else found.group()


def short_path(path: str) -> str:
    """The same path, each line in the shortest form that SVG has for it, and none of no length.

    Numbers are added as decimals, so what is relative does not drift.
    """
    parts: list[str] = []
    here = start = (Decimal(0), Decimal(0))
    before = ""
    for command, rest in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [Decimal(number) for number in rest.split()]
        there = start if command in "Zz" else (numbers[-2], numbers[-1])
        if command != "L":
            before = command
            parts.append(command + _joined(numbers))
        elif there != here:
            before, line = _line(here, there, before)
            parts.append(line)
        start = there if command == "M" else start
        here = there
    return "".join(parts)


def _line(here: Point, there: Point, before: str) -> tuple[str, str]:
    """Letter and text of the shortest way to say it; the letter before need not be said again."""
    across, down = there[0] - here[0], there[1] - here[1]
    if not across:
        ways = [("V", [there[1]]), ("v", [down])]
    elif not down:
        ways = [("H", [there[0]]), ("h", [across])]
    else:
        ways = [("L", [*there]), ("l", [across, down])]
    said = [(letter, (" " if letter == before else letter) + _joined(numbers)) for letter, numbers in ways]
    letter, text = min(said, key=lambda way: len(way[1]))
    return letter, text.replace(" -", "-", 1)


def _joined(numbers: Sequence[Decimal]) -> str:
    short = (re.sub(r"^(-?)0\.", r"\1.", f"{number.normalize():f}") for number in numbers)
    return " ".join(short).replace(" -", "-")


def inline_svg(figure: Figure, title: str, prefix: str) -> str:
    """The figure as an SVG element.

    Args:
        figure: The drawing.
        title: Text for screen readers.
        prefix: Put before every id and class: they must be unique in a page, and are the same in each figure.
    """
    svg = svg_text(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r'\bclass="', f'class="{prefix}', svg)
    svg = re.sub(r"(?<=\})\.(s\d+\{)", rf".{prefix}\1", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
