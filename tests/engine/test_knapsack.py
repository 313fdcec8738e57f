from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.knapsack import largest_batch, pack, pack_sorted
from andes_engine.ranking import Ranked, Ranks

items = st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 20)), min_size=1, max_size=9)


def greedy(gain: np.ndarray, weight: np.ndarray, capacity: int, batch: int) -> tuple[float, np.ndarray]:
    chosen = np.ones(len(gain), dtype=np.bool_)  # pack must clear it
    order = np.argsort(-gain / weight, kind="stable")
    return pack_sorted(order, gain, weight, capacity, batch, chosen), chosen


def optimum(gain: np.ndarray, weight: np.ndarray, capacity: int, batch: int) -> float:
    everyone = range(len(gain))
    subsets = chain.from_iterable(combinations(everyone, size) for size in range(min(batch, len(gain)) + 1))
    return max(gain[list(s)].sum() for s in subsets if weight[list(s)].sum() <= capacity)


@given(items, st.integers(0, 60), st.integers(0, 9))
def test_within_limits_and_never_above_the_optimum(pairs: list, capacity: int, batch: int) -> None:
    gain, weight = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    total, chosen = greedy(gain, weight, capacity, batch)
    assert weight[chosen].sum() <= capacity
    assert chosen.sum() <= batch
    assert total == pytest.approx(gain[chosen].sum())
    best = optimum(gain, weight, capacity, batch)
    assert total <= best + 1e-12
    if weight.sum() <= capacity and len(gain) <= batch:
        assert chosen.all()
        assert total == pytest.approx(best)


@given(items, st.integers(0, 60), st.integers(1, 9))
def test_what_is_left_out_does_not_fit(pairs: list, capacity: int, batch: int) -> None:
    gain, weight = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    _, chosen = greedy(gain, weight, capacity, batch)
    if chosen.sum() < batch:
        assert (weight[~chosen] > capacity - weight[chosen].sum()).all()


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(0, 60), st.integers(1, 9))
def test_largest_batch_is_the_largest(weights: list[int], capacity: int, batch: int) -> None:
    weight = np.array(weights)
    sizes = [
        size
        for size in range(min(batch, len(weights)) + 1)
        if any(sum(s) <= capacity for s in combinations(weights, size))
    ]
    assert largest_batch(weight, capacity, batch) == max(sizes)


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 900), st.integers(0, 70), st.floats(0.0, 1.0))
def test_two_sorted_groups_are_packed_like_one(seed: int, live: int, capacity: int, batch: int, none: float) -> None:
    """With and without adding up the gain, and whatever has no priority or a negative one."""
    rng = np.random.default_rng(seed)
    rows, arrival_s = rng.permutation(live).astype(np.uint32), rng.integers(0, 5, live).astype(float)
    priority = np.where(rng.random(live) < none, rng.choice([0.0, -1.0]), rng.integers(1, 9, live).astype(float))
    gain, weight, running = rng.random(live), rng.integers(1, 40, live), int(rng.integers(0, live + 1))
    order = sorted(range(live), key=lambda at: (-priority[at], arrival_s[at], rows[at]))
    apart = np.array(sorted(order, key=lambda at: at >= running), dtype=np.uint32)
    expected, chosen = np.empty(live, np.bool_), np.empty(live, np.bool_)
    total = pack_sorted(np.array(order), gain, weight, capacity, batch, expected)
    ranked = Ranked(Ranks(priority, arrival_s, rows), apart, running)
    for add_up in (True, False):
        given_total = pack(ranked, gain, weight, capacity, batch, add_up, chosen)
        assert (chosen == expected).all()
        assert given_total == total or not add_up


def test_a_request_that_does_not_fit_is_skipped() -> None:
    total, chosen = greedy(np.array([10.0, 1.0]), np.array([9, 2]), capacity=8, batch=2)
    assert chosen.tolist() == [False, True]
    assert total == 1.0
