from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom

from agents.bootstrap import (
    bootstrap_interval,
    improvements,
    interquartile_mean,
    iqm_interval,
    probability_of_improvement,
    stratified_mean,
    wilson_interval,
)
from agents.statistics import PER_REQUEST, Pair, UnpairedRunsError, paired_difference
from andes_engine.errors import UnknownNameError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.workload import Workload

N = 64


def workload(seed: int, n: int = N) -> Workload:
    rng = np.random.default_rng(seed)
    counts = np.full(n, 10)
    return Workload(f"w{seed}", np.cumsum(rng.exponential(1.0, n)), counts, counts, np.ones(n), np.full(n, 0.2))


def run(asked: Workload, scheduler: str, qoe: np.ndarray, **changes: object) -> RunRecord:
    n, first = len(asked), asked.arrival_s + 1.0
    emitted, lost = asked.output_tokens, np.zeros(n, dtype=np.int64)
    record = RunRecord(asked, "sim", scheduler, qoe, qoe, first, first + 2.0, emitted, lost, 100.0, 10 * n)
    return replace(record, **changes)


def pairs(gain: float, seeds: int = 4, loads: int = 2, noise: float = 0.05) -> list[Pair]:
    """Reference at QoE 0.5; the candidate differs by `gain`, a shift of its workload, and noise of each request."""
    made = []
    for load in range(loads):
        for seed in range(seeds):
            rng = np.random.default_rng([load, seed])
            asked = workload(100 * load + seed)
            change = gain + rng.normal(0, noise / 5) + rng.normal(0, noise, N)
            made.append(Pair(run(asked, "new", 0.5 + change), run(asked, "old", np.full(N, 0.5)), f"load {load}"))
    return made


def test_recovers_a_known_gain():
    found = paired_difference(pairs(0.1))
    assert found.verdict == "better"
    assert found.low < 0.1 < found.high
    assert found.mean == pytest.approx(0.1, abs=0.02)
    assert (found.candidate, found.reference, found.workloads) == ("new", "old", 8)
    assert found.probability_of_improvement > 0.9


def test_swapping_the_roles_turns_the_sign():
    ahead = paired_difference(pairs(0.1))
    behind = paired_difference([Pair(pair.reference, pair.candidate, pair.stratum) for pair in pairs(0.1)])
    assert behind.mean == pytest.approx(-ahead.mean)
    assert behind.verdict == "worse"
    assert behind.probability_of_improvement == pytest.approx(1 - ahead.probability_of_improvement)


def test_no_gain_is_no_difference():
    assert paired_difference(pairs(0.0)).verdict == "no difference"


def test_identical_runs_differ_by_exactly_nothing():
    same = [Pair(pair.reference, pair.reference, pair.stratum) for pair in pairs(0.1)]
    found = paired_difference(same)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.verdict == "no difference"
    assert found.probability_of_improvement == 0.5


def test_same_seed_same_interval_in_any_order():
    given_pairs = pairs(0.02)
    first = paired_difference(given_pairs, seed=3)
    assert paired_difference(given_pairs[::-1], seed=3) == first
    assert paired_difference(given_pairs, seed=4) != first


def test_every_stratum_weighs_the_same():
    crowded = pairs(0.1, seeds=6, loads=1, noise=0.0)
    lonely = [replace(pair, stratum="other") for pair in pairs(0.3, seeds=2, loads=1, noise=0.0)]
    renamed = [
        Pair(replace(p.candidate, workload=w), replace(p.reference, workload=w), p.stratum)
        for p, w in ((p, workload(900 + i)) for i, p in enumerate(lonely))
    ]
    assert paired_difference(crowded + renamed).mean == pytest.approx(0.2)


def test_repeated_runs_of_a_workload_are_not_more_workloads():
    once = pairs(0.02)
    first, repeated = paired_difference(once), paired_difference(once * 5)
    assert (repeated.low, repeated.high) == pytest.approx((first.low, first.high))
    assert repeated.workloads == first.workloads


def test_interval_covers_the_truth_as_often_as_it_says():
    """Three loads of four workloads; both workloads and neighbouring requests are correlated, as queues make them."""
    rng = np.random.default_rng(5)
    truth, hits, widths, estimates = 0.02, 0, [], []
    for _ in range(250):
        strata = [[truth + rng.normal(0, 0.03) + correlated(rng) for _ in range(4)] for _ in range(3)]
        low, high = bootstrap_interval(strata, rng, replicates=400)
        hits += low <= truth <= high
        widths.append(high - low)
        estimates.append(stratified_mean(strata))
    assert 0.93 <= hits / 250 <= 1.0
    assert np.mean(widths) < 2.0 * 2 * 1.96 * np.std(estimates), "far wider than it has to be"


def correlated(rng: np.random.Generator) -> np.ndarray:
    return np.convolve(rng.normal(0, 0.05, N + 7), np.ones(8) / 8, mode="valid")


def test_blocks_widen_the_interval_of_neighbours_that_fare_alike():
    rng = np.random.default_rng(0)
    queue = np.repeat(rng.normal(0, 1, 16), 16)
    shuffled = rng.permutation(queue)
    wide, narrow = (np.diff(bootstrap_interval([[v]], np.random.default_rng(1)))[0] for v in (queue, shuffled))
    assert wide > 2 * narrow


def test_few_workloads_give_a_wider_interval():
    rng = np.random.default_rng(0)
    shifts = rng.normal(0, 1, 2)
    few = [[np.full(9, shift) for shift in shifts]]
    many = [[np.full(9, shift) for shift in np.tile(shifts, 8)]]
    assert np.diff(bootstrap_interval(few, rng))[0] > 4 * np.diff(bootstrap_interval(many, rng))[0]


@pytest.mark.parametrize("key", ["qoe_p10", "ttft_p90_s", "tokens_per_s"])
def test_a_metric_of_whole_runs_has_no_interval_from_one_workload(key):
    found = paired_difference(pairs(0.1, seeds=1), key)
    assert np.isnan([found.low, found.high]).all()
    assert found.verdict == "unknown"


def test_lower_is_better_where_the_metric_says_so():
    slower = [
        Pair(replace(p.candidate, first_token_s=p.candidate.first_token_s + 5.0), p.reference, p.stratum)
        for p in pairs(0.0)
    ]
    found = paired_difference(slower, "ttft_p50_s")
    assert found.mean == pytest.approx(5.0)
    assert (found.verdict, found.probability_of_improvement) == ("worse", 0.0)


def test_values_of_requests_average_to_the_metric_of_the_run():
    record = pairs(0.4)[0].candidate
    for key, values in PER_REQUEST.items():
        assert values(record).mean() == pytest.approx(summarize(record)[key], nan_ok=True)


def test_refuses_other_requests():
    one, other = (run(workload(seed), "s", np.full(N, 0.5)) for seed in (0, 1))
    with pytest.raises(UnpairedRunsError, match="identical requests"):
        Pair(one, other)


def test_refuses_a_run_that_was_not_drained():
    done = run(workload(0), "s", np.full(N, 0.5))
    finish_s = done.finish_s.copy()
    finish_s[:3] = np.nan
    with pytest.raises(UnpairedRunsError, match="left 3 of 64 requests"):
        Pair(replace(done, finish_s=finish_s), done)


def test_refuses_nothing_and_mixtures():
    with pytest.raises(UnpairedRunsError, match="no pairs"):
        paired_difference([])
    mixed = pairs(0.1)[:1] + [Pair(p.reference, p.candidate, p.stratum) for p in pairs(0.1)[1:]]
    with pytest.raises(UnpairedRunsError, match="one candidate and one reference"):
        paired_difference(mixed)


def test_unknown_metric_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'qoe_mean'"):
        paired_difference(pairs(0.1), "qoe_maen")


def test_interquartile_mean_ignores_a_quarter_on_each_side():
    assert interquartile_mean([-100.0, 1, 2, 3, 4, 5, 6, 900]) == 3.5
    assert interquartile_mean([7.0]) == 7.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_interquartile_mean_lies_within_the_values(values):
    assert min(values) - 1e-6 <= interquartile_mean(values) <= max(values) + 1e-6


def test_probability_of_improvement_counts_ties_half():
    assert probability_of_improvement([1.0, 2, 3, 4], [0.0, 2, 4, 3]) == 0.625
    assert probability_of_improvement([1.0, 2, 3, 4], [0.0, 2, 4, 3], higher_is_better=False) == 0.375


def test_improvement_and_interquartile_mean_come_with_intervals():
    found = paired_difference(pairs(0.02))
    assert 0.5 < found.improvement_low < found.probability_of_improvement < found.improvement_high < 1.0
    assert found.iqm_low < 0.02 < found.iqm_high
    assert found.iqm == pytest.approx(0.02, abs=0.01)
    certain = paired_difference(pairs(0.3))
    assert (certain.probability_of_improvement, certain.improvement_high) == (1.0, 1.0)


def test_one_extreme_workload_does_not_carry_the_interquartile_mean():
    made = pairs(0.0, seeds=8, loads=1, noise=0.001)
    lucky = replace(made[0], candidate=run(made[0].reference.workload, "new", np.full(N, 1.0)))
    found = paired_difference([lucky, *made[1:]])
    assert found.mean > 0.05
    assert abs(found.iqm) < 0.001


def test_improvement_in_a_metric_of_whole_runs_is_of_workloads():
    """All of eight workloads better: Wilson's lower bound is 1 / (1 + 1.96^2 / 8), not 1."""
    found = paired_difference(pairs(0.3), "qoe_p10")
    assert (found.probability_of_improvement, found.improvement_high) == (1.0, pytest.approx(1.0))
    assert found.improvement_low == pytest.approx(1.0 / (1.0 + 1.959964**2 / 8))


def test_a_metric_that_runs_do_not_have_gives_nothing():
    found = paired_difference(pairs(0.1), "qoe_area_mean")
    numbers = [found.mean, found.low, found.high, found.probability_of_improvement, found.improvement_low, found.iqm]
    assert np.isnan(numbers).all()
    assert found.verdict == "unknown"


def test_one_workload_has_no_interquartile_interval():
    found = paired_difference(pairs(0.1, seeds=1, loads=1))
    assert np.isfinite([found.iqm, found.low, found.improvement_low]).all()
    assert np.isnan([found.iqm_low, found.iqm_high]).all()


TRIALS = 300


def at_least(share: float) -> float:
    """A share seen in `TRIALS` trials that a true share would fall below once in a thousand times (normal approximation)."""
    return share - 3.1 * np.sqrt(share * (1.0 - share) / TRIALS)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_interquartile_interval_covers_the_truth(seeds):
    """Four loads with noise around the same gain: by symmetry the interquartile mean of all is that gain."""
    rng, hits = np.random.default_rng(seeds), 0
    for _ in range(TRIALS):
        low, high = iqm_interval([0.02 + rng.normal(0, 0.03, seeds) for _ in range(4)], rng, 400)
        hits += low <= 0.02 <= high
    assert hits / TRIALS >= at_least(0.93)


def test_no_gain_is_seldom_called_one_and_a_real_one_is_seen():
    rng = np.random.default_rng(3)
    found = {}
    for gain in (0.0, 0.05):
        intervals = [
            bootstrap_interval(
                [[gain + rng.normal(0, 0.02) + correlated(rng) for _ in range(3)] for _ in range(3)], rng, 300
            )
            for _ in range(TRIALS)
        ]
        found[gain] = np.mean([not low <= 0.0 <= high for low, high in intervals])
    assert found[0.0] <= 0.10
    assert found[0.05] >= 0.95


def test_improvement_interval_covers_the_truth():
    """The candidate's gain of a request is normal around that of its workload: P(better) is Phi(.5 / sqrt(1 + .3^2))."""
    rng, truth, hits = np.random.default_rng(1), float(ndtr(0.5 / np.sqrt(1.09))), 0
    for _ in range(TRIALS):
        strata = [
            [improvements(rng.normal(0.5 + rng.normal(0, 0.3), 1, 36), np.zeros(36)) for _ in range(4)]
            for _ in range(3)
        ]
        low, high = bootstrap_interval(strata, rng, 300)
        hits += low <= truth <= high
    assert hits / TRIALS >= at_least(0.93)


@pytest.mark.parametrize(("truth", "count"), [(0.5, 9), (0.8, 12), (0.95, 30)])
def test_wilson_covers_the_truth_on_average_as_it_says(truth, count):
    """Exact: the chance of each outcome times whether its interval holds the truth. Wilson may fall a little short."""
    cases = np.arange(count + 1)
    holds = [low <= truth <= high for low, high in (wilson_interval(case / count, count) for case in cases)]
    assert binom.pmf(cases, count, truth) @ holds >= 0.92


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        wilson_interval(0.5, 0)
    assert np.isnan(iqm_interval([np.ones(1), np.ones(1)], np.random.default_rng(0))).all()
    assert iqm_interval([np.ones(3)], np.random.default_rng(0), 10) == (1.0, 1.0)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.floats(-5, 5))
def test_improvements_of_swapped_roles_add_up_to_one(values, other):
    there, back = improvements(values, np.full(len(values), other)), improvements(np.full(len(values), other), values)
    np.testing.assert_array_equal(there + back, 1.0)
    np.testing.assert_array_equal(improvements(values, np.full(len(values), other), higher_is_better=False), back)
