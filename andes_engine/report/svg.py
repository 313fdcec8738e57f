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
Step = tuple[str, list[Decimal]]
"""A letter of a path and its numbers."""

SEEN_POINTS = 0.2
"""A corner nearer than this to a straight line, in points, is not drawn."""

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
    styled = with_classes(one_font(short_names(without_names(re.sub(r"\n\s*", "\n", svg)))))
    return terse_styles(with_lines_together(styled))


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
    """The same drawing with each style that is used three times or more written once, as a class of the style sheet.

    Where it is clipped is a class of its own: panels differ in that alone.
    """
    counted = Counter(part for style in re.findall(r' style="([^"]*)"', svg) for part in _parts(style))
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


def with_lines_together(svg: str) -> str:
    """The same drawing with lines of one class in one path where nothing but text is between them, as between those of a grid."""
    before = ""
    while svg != before:
        before, svg = svg, _LINES_APART.sub(r'<path d="\1\4" \2/>\3', svg)
    return svg


_LINES_APART = re.compile(r'<path d="([^"z]*)" (class="[^"]*")/>((?:\n<text[^\n]*</text>)*)\n<path d="(M[^"z]*)" \2/>')


def _styled(found: re.Match[str], names: Mapping[str, str]) -> str:
    parts = _parts(found.group(1))
    classes = " ".join(names[part] for part in parts if part in names)
    rest = "; ".join(part for part in parts if part not in names)
    return (f' class="{classes}"' if classes else "") + (f' style="{rest}"' if rest else "")


def _parts(style: str) -> list[str]:
    """Where something is clipped, and the rest of its style."""
    clip, _, rest = style.partition("; ") if style.startswith("clip-path") else ("", "", style)
    return [part for part in (clip, rest) if part]


def short_path(path: str) -> str:
    """The same path, each line in the shortest form that SVG has for it, and no corner that nobody would see.

    Numbers are added as decimals, so what is relative does not drift.
    """
    parts: list[str] = []
    here = start = (Decimal(0), Decimal(0))
    before = ""
    for command, numbers in _without_faint_corners(_steps(path)):
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


def _steps(path: str) -> list[Step]:
    found = re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    return [(command, [Decimal(number) for number in rest.split()]) for command, rest in found]


def _without_faint_corners(steps: Sequence[Step]) -> list[Step]:
    """The steps of a path without those lines whose end lies on the way to a later one."""
    kept: list[Step] = []
    place = 0
    while place < len(steps):
        end = place + 1
        while end < len(steps) and steps[end][0] == "L" and steps[place][0] in "ML":
            end += 1
        run = steps[place:end]
        kept += [run[corner] for corner in _corners([complex(*numbers) for _, numbers in run])] if len(run) > 2 else run
        place = end
    return kept


def _corners(points: Sequence[complex]) -> list[int]:
    """Places of the points that a line through them needs, the others are nearer to it than can be seen (Douglas-Peucker)."""
    needed, parts = {0, len(points) - 1}, [(0, len(points) - 1)]
    while parts:
        first, last = parts.pop()
        along = points[last] - points[first]
        far = [_distance(point - points[first], along) for point in points[first + 1 : last]]
        if far and max(far) > SEEN_POINTS:
            corner = first + 1 + far.index(max(far))
            needed.add(corner)
            parts += [(first, corner), (corner, last)]
    return sorted(needed)


def _distance(point: complex, along: complex) -> float:
    """Of a point from the stretch between nought and `along`."""
    length = abs(along)
    share = (point * along.conjugate()).real / length**2 if length else 0.0
    return abs(point - min(max(share, 0.0), 1.0) * along)


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
    svg = re.sub(r'(?<=\bclass=")[^"]*', lambda names: re.sub(r"\bs(?=\d)", f"{prefix}s", names.group()), svg)
    svg = re.sub(r"(?<=\})\.(s\d+\{)", rf".{prefix}\1", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
