"""A table as text: computed once, then rendered for the terminal, for Markdown and for HTML with the same characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from andes_engine.metrics import Metric

MISSING = "–"


class Cell(NamedTuple):
    """One value as text, and its spread or interval, which is set in smaller type."""

    value: str = MISSING
    spread: str = ""

    @property
    def text(self) -> str:
        """Both on one line."""
        return f"{self.value} [{self.spread}]" if self.spread else self.value


def spread_cell(values: Sequence[float] | NDArray[np.float64], form: str) -> Cell:
    """Median of several values, with their range; one value stands alone."""
    texts = [format(float(value), form) for value in np.quantile(values, (0.5, 0.0, 1.0))]
    return Cell(texts[0], f"{texts[1]} to {texts[2]}" if np.size(values) > 1 else "")


class Column(NamedTuple):
    """One column: its label, and the group it stands under in a second header line."""

    label: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Grid:
    """A finished table.

    Args:
        title: What the table shows.
        columns: Columns from left to right.
        rows: Cells of each row, as many as columns.
        notes: What a reader must know to read the numbers; shown below.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table '{self.title}': a row has {len(row)} cells, there are {len(self.columns)} columns"
                )

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Name and width in columns of each group, left to right; one empty name when there are no groups."""
        return [(name, len(list(columns))) for name, columns in groupby(self.columns, lambda column: column.group)]


def metric_label(entry: Metric) -> str:
    """A metric's name with its unit, as a column or a row calls it."""
    return f"{entry.label}, {entry.unit}" if entry.unit else entry.label


def to_markdown(*grids: Grid, heading: str = "") -> str:
    """GitHub-flavoured Markdown tables with their titles and notes; what stands above all or under one is not said again."""
    said: set[str] = set()
    parts = []
    for grid in grids:
        notes = [f"\n{_escape(note)}" for note in grid.notes if note not in said]
        title = [] if grid.title == heading else [f"**{_escape(grid.title)}**\n"]
        parts.append("\n".join([*title, markdown_lines(grid), *notes]) + "\n")
        said.update(grid.notes)
    return "\n".join(parts)


def markdown_lines(grid: Grid) -> str:
    """The table alone; groups become part of the column names, which Markdown cannot span."""
    names = [_escape(f"{column.group}: {column.label}" if column.group else column.label) for column in grid.columns]
    rules = ["---:" if column.numeric else "---" for column in grid.columns]
    rows = [[_escape(cell.text) for cell in row] for row in grid.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rules, *rows))


def to_rich(grid: Grid) -> Table:
    """A table for `rich.print`; the spread goes on a second line of its cell, so that seven metrics fit a terminal."""
    caption = Text("\n".join(grid.notes), style="dim")
    table = Table(title=Text(grid.title, style="bold"), caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = table.caption_justify = "left"
    for column, cells in zip(grid.columns, zip(*grid.rows, strict=True), strict=False):
        label = "\n".join(part for part in (column.group, column.label) if part)
        widest = max(len(part) for cell in cells for part in cell)
        table.add_column(Text(label), justify="right" if column.numeric else "left", min_width=widest)
    for row in grid.rows:
        table.add_row(*(Text.assemble(cell.value, (f"\n{cell.spread}" if cell.spread else "", "dim")) for cell in row))
    return table


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
