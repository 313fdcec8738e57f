"""REPRODUCTION.md and its figures: generated, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.document import write_page
from agents.reproduction.section import Section, claims_grid
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.report.html import write_report

PAGE, FIGURES = "REPRODUCTION.md", Path("docs") / "reproduction"

TITLE = "The Andes paper, made again in the simulator"
INTRODUCTION = (
    "Simulated, every run drained, on held-out seeds; QoE is the headline form of METRICS.md; loads are shares of what FCFS "
    "saturates at. The paper's models and traces are not at hand: presets with measured step times stand in for the models "
    "(conf/suite/paper.yaml says which), length families with the published moments for the datasets. What can agree is the "
    "shape, not the digits."
)


def write_document(folder: Path, command: str, sections: Sequence[Section], took_s: float) -> Path:
    """Write the page and its figures into `folder`; returns the page."""
    head = [
        f"Written by `{command}`; do not edit. {INTRODUCTION}",
        "## Claims",
        _count(sections),
        to_markdown(_claims(sections)),
    ]
    return write_page(folder, PAGE, FIGURES, TITLE, head, sections, took_s)


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
