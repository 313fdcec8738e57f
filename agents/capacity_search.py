"""The highest load a contender carries at a target QoE: a scan, bisection, and a bootstrap over workloads.

Anything that says how good it is at a load can be searched. All loads use the same seeds (common random numbers), so that two
loads differ by the load and not by luck, and contenders are compared seed by seed. The capacity is the *first* crossing of the
mean over seeds: every evaluated load below it reaches the target. Where a higher load reaches it again, the curve is not
monotone; the first crossing stands and the result says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bootstrap import REPLICATES, percentile_interval, spread_out
from agents.schema import ConfigError
from andes_engine.errors import AndesError

FloatArray = NDArray[np.float64]

REFINEMENTS = 2
"""How often the ends of the interval are evaluated too: between far loads a straight line would stand for the curve."""


class BracketError(AndesError):
    """The capacity lies outside the loads that are searched."""


class Point(NamedTuple):
    """One evaluation: who, at which load, and which workload (0 .. seeds - 1)."""

    contender: str
    load: float
    seed: int


Evaluate = Callable[[Sequence[Point]], Sequence[float]]
"""Mean QoE at each of several points, in their order; all points of a call may be evaluated side by side."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched.

    Args:
        target: Mean QoE to reach, between 0 and 1.
        seeds: Workloads at each load.
        low: Lowest load; every contender has to reach the target there.
        high: Highest load; no contender may reach it there.
        scan: Loads from low to high evaluated first, >= 2.
        tolerance: Bisection stops at a bracket this narrow.

    Raises:
        ConfigError: If a value is out of its range.
    """

    target: float = 0.9
    seeds: int = 5
    low: float = 0.4
    high: float = 2.0
    scan: int = 5
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ConfigError(f"target = {self.target} must be a mean QoE between 0 and 1, such as 0.9")
        if not 0.0 < self.low < self.high < math.inf:
            raise ConfigError(
                f"low = {self.low}, high = {self.high}: give loads with 0 < low < high, such as 0.4 and 2"
            )
        if not 0.0 < self.tolerance < self.high - self.low:
            raise ConfigError(f"tolerance = {self.tolerance} must be > 0 and less than high - low")
        for name, value, least in (("seeds", self.seeds, 1), ("scan", self.scan, 2)):
            if value < least:
                raise ConfigError(f"{name} = {value} must be at least {least}")

    @property
    def halvings(self) -> int:
        """Bisections of one bracket of the scan."""
        return max(0, math.ceil(math.log2((self.high - self.low) / (self.scan - 1) / self.tolerance)))

    @property
    def usual_loads(self) -> int:
        """Loads evaluated for a contender with a monotone curve, at most."""
        return self.scan + self.halvings + 2 * REFINEMENTS


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """QoE where it was evaluated.

    Args:
        loads: Rising. Shape (loads,).
        qoe: Mean QoE of each workload at each load. Shape (seeds, loads).
    """

    loads: FloatArray
    qoe: FloatArray

    def crossing(self, target: float) -> float:
        """First load at which the mean over seeds falls below the target, between evaluated loads by a straight line."""
        return float(_crossings(self.loads, self.qoe.mean(axis=0, keepdims=True), target)[0])

    def bracket(self, target: float) -> tuple[float, float]:
        """Evaluated loads around the first crossing; one that is infinite or zero says it lies outside."""
        below = self.qoe.mean(axis=0) < target
        first = int(np.argmax(below)) if below.any() else len(below)
        inside = 0.0 if first == 0 else float(self.loads[first - 1])
        return inside, float(self.loads[first]) if first < len(below) else math.inf

    def monotone(self, target: float) -> bool:
        """Whether no evaluated load above the crossing reaches the target again."""
        below = self.qoe.mean(axis=0) < target
        return bool(below[np.argmax(below) :].all()) if below.any() else True

    def resampled(self, target: float, seed: int, replicates: int = REPLICATES) -> FloatArray:
        """Crossings of resampled seeds, the same resamples for every curve. Shape (replicates,); NaN with one seed."""
        seeds = len(self.qoe)
        if seeds < 2:
            return np.full(replicates, np.nan)
        drawn = np.random.default_rng(seed).integers(seeds, size=(replicates, seeds))
        share = (drawn[:, :, None] == np.arange(seeds)).mean(axis=1)
        return _crossings(self.loads, share @ spread_out(self.qoe), target)


def search_capacity(names: Sequence[str], evaluate: Evaluate, search: Search, seed: int = 0) -> dict[str, Curve]:
    """Evaluate each contender where its curve has to be known: around the crossing, and at the ends of its interval.

    Contenders go side by side, so that each call of `evaluate` has as many points as possible.

    Args:
        names: Contenders.
        evaluate: Their mean QoE at points.
        search: What is searched.
        seed: Seed of the bootstrap.

    Raises:
        BracketError: If a contender misses the target at the lowest load, or reaches it at every load of the scan.
    """
    known: dict[str, dict[float, FloatArray]] = {name: {} for name in names}
    _add(known, {name: np.linspace(search.low, search.high, search.scan).tolist() for name in names}, evaluate, search)
    curves = _curves(known)
    for name, curve in curves.items():
        _check_bracket(name, curve, search)
    for refinement in range(REFINEMENTS + 1):
        while wide := {name: [sum(edges) / 2.0] for name, edges in _wide(known, search).items()}:
            _add(known, wide, evaluate, search)
        if refinement < REFINEMENTS:
            ends = {name: _interval_ends(curve, search, seed) for name, curve in _curves(known).items()}
            _add(known, ends, evaluate, search)
    return _curves(known)


def _add(
    known: Mapping[str, dict[float, FloatArray]],
    loads: Mapping[str, Sequence[float]],
    evaluate: Evaluate,
    search: Search,
) -> None:
    places = [(name, load) for name, wanted in loads.items() for load in wanted if load not in known[name]]
    points = [Point(name, load, seed) for name, load in places for seed in range(search.seeds)]
    if not points:
        return
    values = np.asarray(evaluate(points), dtype=np.float64).reshape(len(places), search.seeds)
    if not np.isfinite(values).all():
        raise AndesError(f"no mean QoE at {points[int(np.argmin(np.isfinite(values.ravel())))]}; it must be a number")
    for (name, load), qoe in zip(places, values, strict=True):
        known[name][load] = qoe


def _curves(known: Mapping[str, Mapping[float, FloatArray]]) -> dict[str, Curve]:
    return {
        name: Curve(np.array(sorted(curve)), np.array([curve[load] for load in sorted(curve)]).T)
        for name, curve in known.items()
    }


def _wide(known: Mapping[str, Mapping[float, FloatArray]], search: Search) -> dict[str, tuple[float, float]]:
    brackets = {name: curve.bracket(search.target) for name, curve in _curves(known).items()}
    return {name: edges for name, edges in brackets.items() if edges[1] - edges[0] > search.tolerance}


def _interval_ends(curve: Curve, search: Search, seed: int) -> list[float]:
    """Ends of the bootstrap interval that are not near an evaluated load."""
    if len(curve.qoe) < 2:
        return []
    ends = percentile_interval(curve.resampled(search.target, seed))
    return [end for end in ends if np.abs(curve.loads - end).min() > search.tolerance / 2.0]


def _check_bracket(name: str, curve: Curve, search: Search) -> None:
    inside, outside = curve.bracket(search.target)
    if inside == 0.0:
        raise BracketError(
            f"{name}: mean QoE is {curve.qoe[:, 0].mean():.3f} < {search.target:g} already at load {search.low:g}; "
            "give a lower `low`, or a lower target"
        )
    if math.isinf(outside):
        raise BracketError(
            f"{name}: mean QoE >= {search.target:g} at every load up to {search.high:g} "
            f"({curve.qoe[:, -1].mean():.3f} there); give a higher `high`"
        )


def _crossings(loads: FloatArray, qoe: FloatArray, target: float) -> FloatArray:
    """First crossing of each row, held to the evaluated loads. Shape (rows,)."""
    below = qoe < target
    rows, first = np.arange(len(qoe)), np.argmax(below, axis=1)
    before = np.maximum(first - 1, 0)
    drop = qoe[rows, before] - qoe[rows, first]
    share = np.divide(qoe[rows, before] - target, drop, out=np.zeros(len(qoe)), where=drop > 0.0)
    found = loads[before] + np.clip(share, 0.0, 1.0) * (loads[first] - loads[before])
    return np.where(below.any(axis=1), found, loads[-1])
