"""The zoo's own page: what there is, and the one command that trains each again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.zoo.entries import FOLDER, recipes, training_seed
from andes_engine.policy.bundle import Bundle
from andes_engine.report.grid import Cell, Column, Grid, markdown_lines

INTRODUCTION = (
    "Written by `python -m scripts.zoo`; do not edit. `policy=zoo/NAME` takes a policy from here in every script; the other "
    "seeds of a recipe are `NAME_seedS`. A folder `zoo/NAME` where you start a script comes first."
)
COLUMNS = ("policy", "seeds", "knobs it sets", "reference", "trained on", "validation", "train it again")


def zoo_grid(zoo: Path = FOLDER) -> Grid:
    """A row for each recipe."""
    columns = tuple(Column(label, numeric=False) for label in COLUMNS)
    return Grid("Policies of the zoo", columns, tuple(_row(bundles) for bundles in recipes(zoo).values()))


def zoo_page(zoo: Path = FOLDER) -> str:
    """`agents/zoo/README.md`."""
    grid = zoo_grid(zoo)
    table = markdown_lines(grid) if grid.rows else "It is empty: no recipe is published yet."
    return f"# Policies of the zoo\n\n{INTRODUCTION}\n\n{table}\n"


def _row(bundles: tuple[Bundle, ...]) -> tuple[Cell, ...]:
    best = bundles[0]
    on = _mapping(best.provenance.get("trained_on"))
    gains = [_mapping(bundle.provenance.get("validation")).get("gain") for bundle in bundles]
    told = [f"{gain:+.4f}" for gain in gains if gain is not None]
    return (
        Cell(f"zoo/{best.name}"),
        Cell(", ".join(str(training_seed(bundle)) for bundle in bundles)),
        Cell(", ".join(best.action.names)),
        Cell(str(on.get("reference", "–"))),
        Cell("; ".join(", ".join(map(str, on.get(key) or ("–",))) for key in ("engines", "traffic"))),
        Cell(f"mean QoE {', '.join(told)}" if told else "–"),
        Cell(f"`{best.provenance.get('train_again', '–')}`"),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
