"""What came out, as small as the page needs it: a few metrics of every arm, training seed and workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.suite import Run, Suite
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord

FloatArray = NDArray[np.float64]

STATIONARY = "held_out"
"""The suite of which only the overload grid counts."""

SCALES = {"qoe_mean": 1e-3, "qoe_p10": 2e-3, "late_share": 2e-3, "tokens_per_s": 10.0}
"""Metrics that are kept, and the step they are rounded to, fresh or recorded alike. Rounding moves a mean over a hundred
workloads by 3e-5 (p10 and shares: by 6e-5; tokens/s: by .3), and finer steps would double the recorded file."""

SEGMENT_SCALE = 1e-3


class Place(NamedTuple):
    """A workload of a suite."""

    setting: str
    load: float | None
    seed: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Places:
    """The workloads of a suite, in its order."""

    places: tuple[Place, ...]

    @classmethod
    def of(cls, runs: list[Run]) -> Places:
        """Those that runs of a suite are made on."""
        places = (
            Place(run.setting.name, run.scenario.load, run.scenario.seed, run.scenario.workload.fingerprint)
            for run in runs
        )
        return cls(tuple(dict.fromkeys(places)))

    def strata(self, least_load: float = 0.0, setting: str | None = None) -> dict[tuple[str, float | None], list[int]]:
        """Which workloads, by their place in the suite, each setting has at each load from `least_load` on."""
        found: dict[tuple[str, float | None], list[int]] = {}
        for number, place in enumerate(self.places):
            load = np.inf if place.load is None else place.load
            if load >= least_load and setting in (None, place.setting):
                found.setdefault((place.setting, place.load), []).append(number)
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """What one arm did in one suite.

    Args:
        values: Metrics by key. Shape (training seeds, workloads).
        segments: Sum of the QoE of the requests of each span of time over the number of all requests, so that the spans add up to
            the mean QoE. Shape (training seeds, workloads, spans); None where it is not kept.
    """

    values: Mapping[str, FloatArray]
    segments: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything the page is made of.

    Args:
        suites: Workloads by suite.
        found: What came out, by suite and arm.
    """

    suites: Mapping[str, Places]
    found: Mapping[tuple[str, str], Found] = field(default_factory=dict)

    def strata(
        self, suite: str, arm: str, key: str, least_load: float = 0.0, setting: str | None = None
    ) -> list[FloatArray]:
        """A metric in each stratum. Shapes (training seeds, workloads); empty if the arm was not measured there."""
        found = self.found.get((suite, arm))
        if found is None:
            return []
        return self.picked(suite, found.values[key], least_load, setting)

    def picked(
        self, suite: str, values: FloatArray, least_load: float = 0.0, setting: str | None = None
    ) -> list[FloatArray]:
        """Values of all workloads of a suite by stratum. Shape (training seeds, workloads) each."""
        return [values[:, numbers] for numbers in self.suites[suite].strata(least_load, setting).values()]


def least_load(suite: str, overload: float) -> float:
    """Lowest load of a suite that counts, the overload grid beginning at `overload`."""
    return overload if suite == STATIONARY else 0.0


def metrics_of(record: RunRecord) -> dict[str, float]:
    """The metrics of one run that are kept, rounded."""
    every = summarize(record)
    return {key: round(every[key] / scale) * scale for key, scale in SCALES.items()}


def segments_of(record: RunRecord, count: int) -> FloatArray:
    """QoE of the requests that arrive in each of `count` equal spans, as `Found.segments` has it. Shape (count,)."""
    arrival_s = record.workload.arrival_s
    edges_s = np.linspace(arrival_s[0], arrival_s[-1], count + 1)[1:-1]
    sums = np.bincount(np.searchsorted(edges_s, arrival_s, side="right"), weights=record.qoe, minlength=count)
    return np.round(sums / len(record.qoe) / SEGMENT_SCALE) * SEGMENT_SCALE


def runs_of(suite: Suite) -> list[Run]:
    """The suite's workloads, as runs of nobody in particular."""
    return suite.runs([Contender("fcfs", "fcfs")])
