"""Bootstrap of a stratified mean, and two robust summaries. Plain arrays in, numbers out; no records here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

FloatArray = NDArray[np.float64]

REPLICATES = 5000
CONFIDENCE = 0.95


def stratified_mean(strata: Sequence[Sequence[FloatArray]]) -> float:
    """Mean over strata of the mean over workloads of the mean over values."""
    return float(np.mean([np.mean([values.mean() for values in workloads]) for workloads in strata]))


def bootstrap_interval(
    strata: Sequence[Sequence[FloatArray]], rng: np.random.Generator, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Percentile interval of `stratified_mean`, widened for few workloads (Hesterberg 2015, expanded percentile).

    Args:
        strata: For each stratum, for each workload, the values in order of arrival. At least one of each.
        rng: Source of all randomness.
        replicates: Bootstrap replicates.
    """
    if all(len(workloads) == 1 and len(workloads[0]) == 1 for workloads in strata):
        return np.nan, np.nan
    freedom = sum(len(workloads) - 1 for workloads in strata)
    upper = (1.0 + CONFIDENCE) / 2.0
    widening = float(stdtrit(freedom, upper) / ndtri(upper)) if freedom else 1.0
    total = sum(_stratum_replicates(workloads, widening, rng, replicates) for workloads in strata)
    low, high = np.quantile(np.asarray(total) / len(strata), [1.0 - upper, upper])
    return float(low), float(high)


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half (25 % trimmed from each side): robust like the median, less wasteful."""
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    cut = ordered.size // 4
    return float(ordered[cut : ordered.size - cut].mean())


def probability_of_improvement(candidate: ArrayLike, reference: ArrayLike, higher_is_better: bool = True) -> float:
    """Share of pairs in which the candidate is better; a tie counts half."""
    gain = np.asarray(candidate, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    gain = gain if higher_is_better else -gain
    return float(np.mean((gain > 0) + 0.5 * (gain == 0)))


def _stratum_replicates(
    workloads: Sequence[FloatArray], widening: float, rng: np.random.Generator, replicates: int
) -> FloatArray:
    """Bootstrap replicates of one stratum's mean. Shape (replicates,)."""
    count = len(workloads)
    means = np.array([values.mean() for values in workloads])
    scale = widening * np.sqrt(count / (count - 1)) if count > 1 else 1.0
    centers = means.mean() + scale * (means - means.mean())
    chosen = rng.integers(count, size=(replicates, count))
    drawn = centers[chosen]
    for index, values in enumerate(workloads):
        picked = chosen == index
        drawn[picked] += _block_noise(values, int(picked.sum()), rng)
    return drawn.mean(axis=1)


def _block_noise(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Resampled mean minus mean, from circular blocks of sqrt(n) neighbours. Shape (count,)."""
    n = len(values)
    length = max(1, round(n**0.5))
    rows = (np.arange(n)[:, None] + np.arange(length)) % n
    block_means = values[rows].mean(axis=1)
    return block_means[rng.integers(n, size=(count, -(-n // length)))].mean(axis=1) - values.mean()
