"""What each contender achieves by itself: mean, interquartile mean and performance profile, with intervals.

Labels of strata are free: a load, an engine, a setting, or several of them in one text. Workloads of different strata are
never mixed in a resample, and for the mean every stratum weighs the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import numpy as np

from agents.bootstrap import REPLICATES, bootstrap_interval, interquartile_mean, iqm_interval, stratified_mean
from agents.statistics import FloatArray, UnpairedRunsError, grouped, values_of
from andes_engine.metrics import HEADLINE, metric
from andes_engine.records import RunRecord
from andes_engine.report.estimates import Estimate, estimate_grid
from andes_engine.report.grid import Grid
from andes_engine.report.profiles import Profile

MARKS = np.linspace(0.0, 1.0, 51)
"""Where profiles are evaluated."""

PROFILE_REPLICATES = 1000


class LabelledRun(Protocol):
    """A run and the stratum it belongs to, such as `agents.evaluate.Outcome`."""

    @property
    def stratum(self) -> str:
        """Label of load, engine or setting."""

    @property
    def record(self) -> RunRecord:
        """The run."""


def summary_grid(
    runs: Iterable[LabelledRun],
    title: str,
    keys: Sequence[str] = HEADLINE[:3],
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Grid:
    """Table of `estimates`: a row for each contender, mean and interquartile mean of each metric with intervals."""
    return estimate_grid(estimates(runs, keys, seed, replicates), title)


def estimates(
    runs: Iterable[LabelledRun], keys: Sequence[str], seed: int = 0, replicates: int = REPLICATES
) -> list[Estimate]:
    """Mean and interquartile mean of each metric of each contender, with 95 % intervals.

    The mean's interval is that of `paired_difference`: over workloads, then over blocks of requests. The interquartile mean
    is over runs, each of which weighs the same, and has no interval where no stratum has two workloads.

    Args:
        runs: Runs of any contenders; repeats of a workload are averaged.
        keys: Metrics.
        seed: Seed of the bootstrap; every contender is resampled with the same draws.
        replicates: Bootstrap replicates, >= 1.

    Raises:
        UnpairedRunsError: If there is no run.
        UnknownNameError: If a metric does not exist.
    """
    return [_estimate(mine, name, metric(key).key, seed, replicates) for name, mine in _by_name(runs) for key in keys]


def profiles(
    runs: Iterable[LabelledRun],
    of: Literal["requests", "runs"] = "requests",
    seed: int = 0,
    replicates: int = PROFILE_REPLICATES,
) -> list[Profile]:
    """Share of requests (or of runs, by their mean) with QoE above each of `MARKS`, with a pointwise 95 % band.

    Every mark is resampled with the same draws, so that bands are as smooth as their curves.

    Raises:
        UnpairedRunsError: If there is no run.
    """
    return [_profile(mine, name, of, seed, replicates) for name, mine in _by_name(runs)]


def _by_name(runs: Iterable[LabelledRun]) -> list[tuple[str, list[LabelledRun]]]:
    by_name: dict[str, list[LabelledRun]] = defaultdict(list)
    for run in runs:
        by_name[run.record.scheduler].append(run)
    if not by_name:
        raise UnpairedRunsError("a summary needs at least one run, got none")
    return list(by_name.items())


def _estimate(runs: Sequence[LabelledRun], name: str, key: str, seed: int, replicates: int) -> Estimate:
    strata = _strata(runs, key)
    means = [np.array([values.mean() for values in workloads]) for workloads in strata]
    low, high = bootstrap_interval(strata, np.random.default_rng(seed), replicates)
    iqm_low, iqm_high = iqm_interval(means, np.random.default_rng(seed), replicates)
    return Estimate(
        name,
        key,
        stratified_mean(strata),
        low,
        high,
        interquartile_mean(np.concatenate(means)),
        iqm_low,
        iqm_high,
        workloads=sum(map(len, strata)),
        unfinished=sum(int((~run.record.finished).sum()) for run in runs),
    )


def _profile(
    runs: Sequence[LabelledRun], name: str, of: Literal["requests", "runs"], seed: int, replicates: int
) -> Profile:
    strata = _strata(runs, "qoe_mean")
    if of == "runs":
        strata = [[values.mean(keepdims=True) for values in workloads] for workloads in strata]
    share, low, high = np.array([_above(strata, mark, seed, replicates) for mark in MARKS]).T
    return Profile(name, of, MARKS, share, np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0))


def _above(strata: list[list[FloatArray]], mark: float, seed: int, replicates: int) -> tuple[float, float, float]:
    above = [[(values > mark).astype(np.float64) for values in workloads] for workloads in strata]
    return stratified_mean(above), *bootstrap_interval(above, np.random.default_rng(seed), replicates)


def _strata(runs: Sequence[LabelledRun], key: str) -> list[list[FloatArray]]:
    return grouped((run.stratum, run.record.workload.fingerprint, values_of(run.record, key)) for run in runs)
