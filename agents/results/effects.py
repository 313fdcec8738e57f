"""Differences between arms over workloads and training seeds, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from agents.bootstrap import crossed_replicates, percentile_interval, seed_noise
from agents.results.measured import FloatArray, Measured
from andes_engine.report.differences import interval_cell
from andes_engine.report.grid import Cell

RELATIVE = ("tokens_per_s",)
"""Metrics whose difference is a share of the reference's."""

Strata = Sequence[FloatArray]
"""Values by stratum. Shape (training seeds, workloads) each."""


class Effect(NamedTuple):
    """A number with its 95 % interval (NaN bounds: too few workloads to give one)."""

    value: float
    low: float
    high: float
    seeds: int
    workloads: int

    @property
    def has_interval(self) -> bool:
        """Whether there were enough workloads to give an interval."""
        return isfinite(self.low) and isfinite(self.high)

    def cell(self, form: str = "+.3f") -> Cell:
        """For a table."""
        return interval_cell(self.value, self.low, self.high, form)


def cell_of(found: Effect | None, form: str = "+.3f") -> Cell:
    """For a table; empty where nothing was measured."""
    return found.cell(form) if found else Cell()


def effect(values: Strata, against: Strata | None = None, relative: bool = False, seed: int = 0) -> Effect | None:
    """Mean over strata of the mean over workloads, less that of a reference on the same workloads.

    Args:
        values: Of the candidate.
        against: Of the reference, its training seeds averaged on every workload; None for the candidate by itself.
        relative: Whether the difference is a share of the reference.
        seed: Of the bootstrap.

    Returns:
        None if one of the two was not measured.
    """
    if not values or (against is not None and not against):
        return None
    rng = np.random.default_rng(seed)
    paired = (
        values
        if against is None
        else [_less(ours, theirs, relative) for ours, theirs in zip(values, against, strict=True)]
    )
    drawn = crossed_replicates(paired, rng)
    if against is not None and len(against[0]) > 1:
        scale = [theirs / theirs.mean() if relative else theirs for theirs in against]
        drawn = drawn + seed_noise(np.mean([theirs.mean(axis=1) for theirs in scale], axis=0), rng)
    return _effect(_mean(paired), drawn, paired)


def closed(values: Strata, start: Strata, end: Strata, seed: int = 0) -> Effect | None:
    """Share of the way from `start` to `end` that a candidate covers, on the same workloads; NaN if there is no way to go.

    Numerator and denominator are resampled together.
    """
    if not (values and start and end):
        return None
    mine = [_less(ours, theirs) for ours, theirs in zip(values, start, strict=True)]
    whole = [_less(best, theirs).mean(axis=0, keepdims=True) for best, theirs in zip(end, start, strict=True)]
    gap = _mean(whole)
    if not gap > 0.0:
        return Effect(np.nan, np.nan, np.nan, len(mine[0]), sum(stratum.shape[1] for stratum in mine))
    ours, way = (crossed_replicates(values, np.random.default_rng(seed)) for values in (mine, whole))
    return _effect(_mean(mine) / gap, ours / way, mine)


def difference(
    measured: Measured,
    suite: str,
    candidate: str | None,
    reference: str,
    key: str = "qoe_mean",
    least_load: float = 0.0,
    seed: int = 0,
    setting: str | None = None,
) -> Effect | None:
    """Candidate less reference in one metric of a suite; None if one of them was not measured there."""
    if candidate is None or suite not in measured.suites:
        return None
    ours, theirs = (measured.strata(suite, arm, key, least_load, setting) for arm in (candidate, reference))
    return effect(ours, theirs, key in RELATIVE, seed)


def _less(ours: FloatArray, theirs: FloatArray, relative: bool = False) -> FloatArray:
    level = theirs.mean(axis=0, keepdims=True)
    return ours / level - 1.0 if relative else ours - level


def _mean(values: Strata) -> float:
    return float(np.mean([stratum.mean() for stratum in values]))


def _effect(value: float, drawn: FloatArray, values: Strata) -> Effect:
    """Without two workloads in any stratum nothing is known of other workloads, and there is no interval."""
    workloads = sum(stratum.shape[1] for stratum in values)
    known = workloads > len(values)
    low, high = percentile_interval(drawn) if known else (np.nan, np.nan)
    return Effect(value, low, high, len(values[0]), workloads)
