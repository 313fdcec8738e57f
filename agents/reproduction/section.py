"""What a part of the reproduction hands over: a section of the document, and claims with the published value beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents import document
from andes_engine.report.grid import Cell, Column, Grid

Holds = Literal["yes", "partly", "no"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A published statement and what came out here.

    Args:
        what: The statement.
        source: Version of the paper.
        published: Its number.
        ours: Our number, with its spread.
        holds: Whether it holds here.
        why: A line on agreement, or why not.
    """

    what: str
    source: str
    published: str
    ours: str
    holds: Holds
    why: str


@dataclass(frozen=True, slots=True)
class Section(document.Section):
    """A section, and the claims it is evidence for."""

    claims: tuple[Claim, ...] = ()


def held(good: bool, direction: bool) -> Holds:
    """`yes` for the published size, `partly` for its direction only."""
    return "yes" if good else "partly" if direction else "no"


def claims_grid(claims: Sequence[Claim]) -> Grid:
    """The table of claims."""
    columns = tuple(Column(label, numeric=False) for label in ("claim", "source", "published", "here", "holds", "why"))
    rows = tuple(
        tuple(map(Cell, (entry.what, entry.source, entry.published, entry.ours, entry.holds, entry.why)))
        for entry in claims
    )
    return Grid("The paper's claims", columns, rows)
