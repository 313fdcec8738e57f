from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.knapsack import pack_sorted
from andes_engine.knapsack_exact import exact_memory_bytes, pack_exact, pack_exact_of_size

items = st.lists(st.tuples(st.floats(-1.0, 1.0), st.integers(0, 20)), max_size=12)
capacities, batches = st.integers(0, 80), st.integers(0, 13)


def arrays(pairs: list) -> tuple[np.ndarray, np.ndarray]:
    return np.array([p[0] for p in pairs], dtype=float), np.array([p[1] for p in pairs], dtype=np.int64)


def brute_force(gain: np.ndarray, weight: np.ndarray, capacity: int) -> dict[int, float]:
    """Largest total gain by number of requests, over all subsets that fit."""
    subsets = (np.arange(2 ** len(gain))[:, None] >> np.arange(len(gain))) & 1
    subsets = subsets[subsets @ weight <= capacity]
    totals, sizes = subsets @ gain, subsets.sum(axis=1)
    return {size: totals[sizes == size].max() for size in np.unique(sizes)}


def exact(gain: np.ndarray, weight: np.ndarray, capacity: int, batch: int) -> tuple[float, np.ndarray]:
    chosen = np.ones(len(gain), dtype=np.bool_)  # the packer must clear it
    return pack_exact(gain, weight, capacity, batch, chosen), chosen


@given(items, capacities, batches)
def test_is_the_optimum(pairs: list, capacity: int, batch: int) -> None:
    gain, weight = arrays(pairs)
    total, chosen = exact(gain, weight, capacity, batch)
    best = max(value for size, value in brute_force(gain, weight, capacity).items() if size <= batch)
    assert total == pytest.approx(best, abs=1e-12)
    assert total == pytest.approx(gain[chosen].sum(), abs=1e-12)
    assert weight[chosen].sum() <= capacity
    assert chosen.sum() <= batch
    assert (gain[chosen] > 0.0).all()


@given(items, capacities, batches)
def test_of_size_is_the_optimum_with_exactly_that_many(pairs: list, capacity: int, batch: int) -> None:
    gain, weight = arrays(pairs)
    chosen = np.ones(len(gain), dtype=np.bool_)
    total = pack_exact_of_size(gain, weight, capacity, batch, chosen)
    by_size = brute_force(gain, weight, capacity)
    if batch not in by_size:
        assert total == -np.inf
        assert not chosen.any()
        return
    assert total == pytest.approx(by_size[batch], abs=1e-12)
    assert total == pytest.approx(gain[chosen].sum(), abs=1e-12)
    assert chosen.sum() == batch
    assert weight[chosen].sum() <= capacity


@given(items, st.permutations(range(12)), capacities, batches)
def test_greedy_is_never_above_in_any_order(pairs: list, order: list[int], capacity: int, batch: int) -> None:
    gain, weight = arrays(pairs)
    positions = np.array([place for place in order if place < len(gain)], dtype=np.int64)
    greedy = pack_sorted(positions, gain, weight, capacity, batch, np.empty(len(gain), np.bool_))
    assert greedy <= exact(gain, weight, capacity, batch)[0] + 1e-12


def test_beats_greedy_where_greed_is_wrong() -> None:
    gain, weight = np.array([0.6, 0.5, 0.5]), np.array([6, 5, 5])
    total, chosen = exact(gain, weight, capacity=10, batch=3)
    assert total == 1.0
    assert chosen.tolist() == [False, True, True]


def test_what_weighs_nothing_is_free_but_takes_a_place() -> None:
    gain, weight = np.array([0.1, 0.2, 0.9]), np.array([0, 0, 7])
    assert exact(gain, weight, capacity=0, batch=3)[1].tolist() == [True, True, False]
    assert exact(gain, weight, capacity=7, batch=2)[1].tolist() == [False, True, True]


@pytest.mark.parametrize("batch", [60, 256])
def test_agrees_with_the_linear_bound_on_a_decision_of_real_size(batch: int) -> None:
    """500 requests, 2588 blocks: within one request of the fractional knapsack, with the limit binding and not."""
    rng = np.random.default_rng(0)
    gain, weight = rng.random(500), rng.integers(5, 60, 500)
    total, chosen = exact(gain, weight, 2588, batch)
    assert chosen.sum() <= batch
    assert weight[chosen].sum() <= 2588
    bounds = [
        (np.maximum(gain - price * weight - place, 0.0)).sum() + price * 2588 + place * batch
        for price in np.linspace(0.0, 0.05, 101)
        for place in np.linspace(0.0, 1.0, 101)
    ]
    assert total <= min(bounds) + 1e-9  # weak duality holds for every pair of prices
    assert total == pytest.approx(min(bounds), rel=0.01)


def test_memory_is_a_bit_for_each_state() -> None:
    assert exact_memory_bytes(500, 2588, 256) < 50e6
    assert exact_memory_bytes(10, 100, 1000) == exact_memory_bytes(10, 100, 10)
