"""Statements about schedulers, checked by simulation: cases, arms, seeds, and the table that shows them.

Every arm of a case serves the same requests, so that differences are paired. Runs are drained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.config import WorkloadSettings
from agents.evaluate import Outcome
from agents.suite import Setting
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.metrics import metric, summarize
from andes_engine.report.grid import Cell, Column, Grid, metric_label, spread_cell

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Case:
    """One engine under one kind of traffic at one load; requests the engine cannot hold are dropped."""

    name: str
    engine: EngineConfig
    traffic: WorkloadSettings
    load: float = 1.0


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

    @property
    def contender(self) -> Contender:
        """As it takes part."""
        return Contender(self.name, self.scheduler, self.knobs, lengths=self.lengths)


Found = Mapping[tuple[str, str], Mapping[str, FloatArray]]
"""By (case, arm): metrics by key, one value for each seed. Shape (seeds,)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that should hold, and the runs that show whether it does.

    Args:
        key: Its name.
        title: The statement.
        cases: Engines and traffic.
        arms: Ways to serve them; the first is what the others are compared with.
        keys: Metrics shown, from `andes_engine.metrics.METRICS`.
        source: Where the statement is made.
        ratio: Show mean QoE over that of the first arm, too, not only the difference.
    """

    key: str
    title: str
    cases: tuple[Case, ...]
    arms: tuple[Arm, ...]
    keys: tuple[str, ...] = ("qoe_mean", "qoe_p10", "preemptions_per_request")
    source: str = ""
    ratio: bool = False

    def settings(self, seeds: int) -> list[Setting]:
        """The runs, as settings of a suite."""
        return [
            Setting(
                self._setting(case, arm),
                replace(case.engine, **arm.limits),
                case.traffic,
                (case.load,),
                seeds,
                load_engine=case.engine,
                contenders=(arm.contender,),
            )
            for case in self.cases
            for arm in self.arms
        ]

    def found(self, outcomes: Sequence[Outcome]) -> Found:
        """Metrics of its runs among the outcomes of a suite."""
        by_setting: dict[str, list[Mapping[str, float]]] = {}
        for outcome in outcomes:
            by_setting.setdefault(outcome.setting, []).append(summarize(outcome.record))
        return {
            (case.name, arm.name): _columns(by_setting[self._setting(case, arm)])
            for case in self.cases
            for arm in self.arms
        }

    def _setting(self, case: Case, arm: Arm) -> str:
        return f"{self.key}: {case.name}: {arm.name}"

    def grid(self, found: Found) -> Grid:
        """One row for each case and arm: median and range over seeds, and how mean QoE compares, workload by workload."""
        first = self.arms[0].name
        compared = (f"QoE less {first}", f"QoE over {first}")[: 1 + self.ratio]
        labels = ("case", "arm", *map(_label, self.keys), *compared)
        columns = tuple(Column(label, numeric=place > 1) for place, label in enumerate(labels))
        rows = []
        for case in self.cases:
            reference = found[case.name, first]["qoe_mean"]
            for place, arm in enumerate(self.arms):
                mine = found[case.name, arm.name]
                cells = [value_cell(mine[key], metric(key).digits) for key in self.keys]
                gain = value_cell(mine["qoe_mean"] - reference, 3, "+"), value_cell(mine["qoe_mean"] / reference, 2)
                said = Cell("" if place else case.name)
                shown = gain if arm.name != first else (Cell(), Cell())
                rows.append((said, Cell(arm.name), *cells, *shown[: len(compared)]))
        seeds = len(next(iter(found.values()))["qoe_mean"])
        notes = (f"Median over {seeds} workloads, lowest and highest in brackets; differences and ratios are paired.",)
        return Grid(self.title, columns, tuple(rows), notes)


def value_cell(values: FloatArray, digits: int, sign: str = "") -> Cell:
    """Median of one value for each seed, with the range. A dash where a value is missing."""
    if not np.isfinite(values).all():
        return Cell()
    return spread_cell(values, f"{sign}.{digits}f")


def _label(key: str) -> str:
    return metric_label(metric(key))


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, FloatArray]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}
