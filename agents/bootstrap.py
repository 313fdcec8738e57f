"""Bootstrap of a stratified mean and of the interquartile mean, and what they rest on. Plain arrays in, numbers out.

Which numbers to show follows Agarwal et al. 2021, *Deep RL at the edge of the statistical precipice*: interval estimates by
stratified bootstrap, the interquartile mean, the probability of improvement.
"""

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
    return percentile_interval(mean_replicates(strata, rng, replicates))


def mean_replicates(
    strata: Sequence[Sequence[FloatArray]], rng: np.random.Generator, replicates: int = REPLICATES
) -> FloatArray:
    """Bootstrap replicates of `stratified_mean`; arguments as in `bootstrap_interval`. Shape (replicates,)."""
    widening = _widening(sum(len(workloads) - 1 for workloads in strata))
    total = sum(_stratum_replicates(workloads, widening, rng, replicates) for workloads in strata)
    return np.asarray(total) / len(strata)


def crossed_replicates(
    values: Sequence[FloatArray], rng: np.random.Generator, replicates: int = REPLICATES
) -> FloatArray:
    """Bootstrap replicates of the mean over training seeds and workloads, both of which another study would draw anew.

    Seeds and workloads are crossed: every policy runs every workload. Their main effects are resampled apart and added (compare
    Owen 2007, *The pigeonhole bootstrap*), each widened for its own number, so that few seeds give a wide interval. What one
    policy does on one workload only is in both, so the interval errs on the wide side: on synthetic data it covered the truth in
    93 to 99 % of cases, with one to five seeds and two or three workloads in each of 4 to 27 strata.

    Args:
        values: For each stratum, the value of every training seed on every workload. Shape (seeds, workloads), the same seeds
            in each.
        rng: Source of all randomness; equal ones draw the same workloads for values of the same shapes.
        replicates: Bootstrap replicates.

    Returns:
        Shape (replicates,).
    """
    workloads = mean_replicates([list(stratum.mean(axis=0)[:, None]) for stratum in values], rng, replicates)
    return workloads + seed_noise(np.mean([stratum.mean(axis=1) for stratum in values], axis=0), rng, replicates)


def seed_noise(means: FloatArray, rng: np.random.Generator, replicates: int = REPLICATES) -> FloatArray:
    """Bootstrap replicates of a mean over training seeds, minus the mean. Shape (seeds,) -> (replicates,); 0 with one seed."""
    spread = spread_out(means) - means.mean()
    return spread[rng.integers(len(means), size=(replicates, len(means)))].mean(axis=1)


def iqm_interval(
    strata: Sequence[FloatArray], rng: np.random.Generator, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Interval of `interquartile_mean` over all values of all strata; values are resampled inside their stratum.

    On synthetic data, four strata, it covered the truth in 92 % of cases with two workloads in each, 94 % with three, and 95
    to 96 % with five or ten.

    Args:
        strata: One value for each workload, for each stratum. At least one of each.
        rng: Source of all randomness.
        replicates: Bootstrap replicates.

    Returns:
        Bounds, widened like those of `bootstrap_interval`; NaN where no stratum has two workloads.
    """
    freedom = sum(len(values) - 1 for values in strata)
    if freedom == 0:
        return np.nan, np.nan
    drawn = [
        spread_out(values, _widening(freedom))[rng.integers(len(values), size=(replicates, len(values)))]
        for values in strata
    ]
    return percentile_interval(_interquartile_means(np.concatenate(drawn, axis=1)))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Interval of a share seen in `count` independent cases (Wilson 1927): not a point where all cases agree.

    Raises:
        ValueError: If there is no case.
    """
    if count < 1:
        raise ValueError(f"a share needs at least one case, got {count}")
    squared = float(ndtri((1.0 + CONFIDENCE) / 2.0)) ** 2
    center = (share + squared / (2.0 * count)) / (1.0 + squared / count)
    reach = np.sqrt(squared * (share * (1.0 - share) / count + squared / (4.0 * count**2))) / (1.0 + squared / count)
    return max(0.0, float(center - reach)), min(1.0, float(center + reach))


def percentile_interval(replicates: FloatArray) -> tuple[float, float]:
    """The middle `CONFIDENCE` of bootstrap replicates."""
    upper = (1.0 + CONFIDENCE) / 2.0
    low, high = np.quantile(replicates, [1.0 - upper, upper])
    return float(low), float(high)


def spread_out(values: FloatArray, widening: float | None = None) -> FloatArray:
    """Values further from their mean, so that a bootstrap of them has the width a t interval would have.

    Args:
        values: One entry for each workload along the first axis.
        widening: Ratio of t to normal quantile; by default that of so many workloads.
    """
    count = len(values)
    if count < 2:
        return values
    factor = (_widening(count - 1) if widening is None else widening) * np.sqrt(count / (count - 1))
    return values.mean(axis=0) + factor * (values - values.mean(axis=0))


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half (25 % trimmed from each side): robust like the median, less wasteful."""
    return float(_interquartile_means(np.asarray(values, dtype=np.float64).reshape(1, -1))[0])


def probability_of_improvement(candidate: ArrayLike, reference: ArrayLike, higher_is_better: bool = True) -> float:
    """Share of pairs in which the candidate is better; a tie counts half."""
    return float(np.mean(improvements(candidate, reference, higher_is_better)))


def improvements(candidate: ArrayLike, reference: ArrayLike, higher_is_better: bool = True) -> FloatArray:
    """For each pair 1 where the candidate is better, .5 for a tie, NaN where one is NaN. Shape (n,)."""
    gain = np.asarray(candidate, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return 0.5 + 0.5 * np.sign(gain if higher_is_better else -gain)


def _interquartile_means(rows: FloatArray) -> FloatArray:
    ordered = np.sort(rows, axis=1)
    cut = rows.shape[1] // 4
    return ordered[:, cut : rows.shape[1] - cut].mean(axis=1)


def _widening(freedom: int) -> float:
    """How much wider an interval is with so many degrees of freedom than with infinitely many."""
    upper = (1.0 + CONFIDENCE) / 2.0
    return float(stdtrit(freedom, upper) / ndtri(upper)) if freedom else 1.0


def _stratum_replicates(
    workloads: Sequence[FloatArray], widening: float, rng: np.random.Generator, replicates: int
) -> FloatArray:
    """Bootstrap replicates of one stratum's mean. Shape (replicates,)."""
    count = len(workloads)
    centers = spread_out(np.array([values.mean() for values in workloads]), widening)
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
