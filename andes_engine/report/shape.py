"""Statements about schedulers, checked by simulation: cases, arms, seeds, and the table that shows them.

Every arm of a case serves the same requests, so that differences are paired. Runs are drained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.knobs import Knobs
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.grid import Cell, Column, Grid
from andes_engine.sim.simulator import simulate
from andes_engine.workload.generate import WorkloadSpec, generate, rate_of

FloatArray = NDArray[np.float64]

RECOMPUTED = "recomputed"
"""Key of the share of prefill that was done again: prefilled tokens over prompt tokens, less one."""

LABELS: dict[str, tuple[str, int]] = {
    "qoe_mean": ("QoE mean", 3),
    "qoe_p10": ("p10", 3),
    "qoe_p5": ("p5", 3),
    "qoe_min": ("worst", 3),
    "perfect_share": ("QoE = 1, share", 3),
    "preemptions_per_request": ("preemptions / request", 2),
    RECOMPUTED: ("recomputed / prompt tokens", 2),
    "tokens_per_s": ("tokens/s", 0),
}
"""What a statement may show: label and digits by key."""


@dataclass(frozen=True, slots=True)
class Case:
    """One engine under one kind of traffic; requests the engine cannot hold are dropped."""

    name: str
    engine: EngineConfig
    traffic: WorkloadSpec


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to serve a case.

    Args:
        name: In tables.
        scheduler: Name from `schedulers.SCHEDULERS`.
        knobs: Knobs that differ from the paper's defaults.
        lengths: Source of expected output lengths.
        limits: Fields of the case's engine that this arm changes; the traffic stays that of the case.
    """

    name: str
    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    lengths: str = "none"
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that should hold, and the runs that show whether it does.

    Args:
        title: The statement.
        cases: Engines and traffic.
        arms: Ways to serve them; the first is what the others are compared with.
        keys: Metrics shown, from `LABELS`.
        source: Where the statement is made.
    """

    title: str
    cases: tuple[Case, ...]
    arms: tuple[Arm, ...]
    keys: tuple[str, ...] = ("qoe_mean", "qoe_p10", "preemptions_per_request", RECOMPUTED)
    source: str = ""


Outcomes = Mapping[tuple[str, str], Mapping[str, FloatArray]]
"""By (case, arm): metrics by key, one value for each seed. Shape (seeds,)."""


def measure(statement: Statement, seeds: Sequence[int]) -> Outcomes:
    """Serve every case in every arm, once for each seed.

    Raises:
        AndesError: If there are no seeds.
    """
    if not seeds:
        raise AndesError("a statement needs at least one seed")
    found = {}
    for case in statement.cases:
        rate = rate_of(case.traffic, case.engine)
        asked = [generate(case.traffic, seed, rate).fitting(case.engine)[0] for seed in seeds]
        for arm in statement.arms:
            engine = replace(case.engine, **arm.limits)
            runs = [
                simulate(engine, workload, arm.scheduler, Knobs(arm.knobs), lengths=arm.lengths) for workload in asked
            ]
            found[case.name, arm.name] = _columns(map(numbers_of, runs))
    return found


def numbers_of(record: RunRecord) -> dict[str, float]:
    """Metrics of a run, those of METRICS.md and the few that only statements need."""
    return {
        **summarize(record),
        "qoe_min": float(record.qoe.min()),
        RECOMPUTED: float(record.prefill_tokens / record.workload.prompt_tokens.sum() - 1.0),
    }


def statement_grid(statement: Statement, outcomes: Outcomes) -> Grid:
    """One row for each case and arm: median and range over seeds, and how mean QoE compares, workload by workload."""
    first = statement.arms[0].name
    labels = ("case", "arm", *(LABELS[key][0] for key in statement.keys), f"QoE less {first}", f"QoE over {first}")
    columns = tuple(Column(label, numeric=place > 1) for place, label in enumerate(labels))
    rows = []
    for case in statement.cases:
        reference = outcomes[case.name, first]["qoe_mean"]
        for arm in statement.arms:
            mine = outcomes[case.name, arm.name]
            cells = [_cell(mine[key], LABELS[key][1]) for key in statement.keys]
            paired = (_cell(mine["qoe_mean"] - reference, 3, "+"), _cell(mine["qoe_mean"] / reference, 2))
            rows.append((Cell(case.name), Cell(arm.name), *cells, *(paired if arm.name != first else (Cell(), Cell()))))
    seeds = len(next(iter(outcomes.values()))["qoe_mean"])
    notes = (f"Median over {seeds} workloads, lowest and highest in brackets; differences and ratios are paired.",)
    return Grid(statement.title, columns, tuple(rows), notes)


def _columns(runs: Iterable[Mapping[str, float]]) -> dict[str, FloatArray]:
    rows = list(runs)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _cell(values: FloatArray, digits: int, sign: str = "") -> Cell:
    texts = [f"{value:{sign}.{digits}f}" for value in (np.median(values), values.min(), values.max())]
    return Cell(texts[0], f"{texts[1]} to {texts[2]}" if len(values) > 1 else "")
