from __future__ import annotations

import numpy as np
import pytest

from andes_engine.errors import AndesError, CapacityError
from andes_engine.report.greedy_gap import GreedyGaps, KnapsackInstance, greedy_gap, greedy_gaps

TRAP = KnapsackInstance(np.array([0.65, 0.5, 0.5]), np.array([6, 5, 5]), 10, 3)
"""Greedy takes the first alone and misses 0.35 of 1."""


def test_the_gap_of_one_decision() -> None:
    assert greedy_gap(*TRAP) == (0.65, 1.0)


def test_greedy_can_follow_the_scheduler_that_was_recorded() -> None:
    greedy, exact = greedy_gap(*TRAP._replace(priority=np.array([0.0, 1.0, 1.0])))
    assert greedy == exact == 1.0


def test_requests_that_weigh_nothing_go_first_unless_they_lose() -> None:
    assert greedy_gap(np.array([0.5, 0.1]), np.array([1, 0]), 1, 1) == (0.1, 0.5)
    assert greedy_gap(np.array([0.5, -0.1]), np.array([1, 0]), 1, 1) == (0.5, 0.5)


def test_gaps_over_instances() -> None:
    easy = KnapsackInstance(np.array([0.5, 0.5]), np.array([1, 1]), 2, 2)
    nothing = KnapsackInstance(np.zeros(2), np.array([1, 1]), 2, 2)
    gaps = greedy_gaps([TRAP, easy, nothing])
    assert gaps.relative == pytest.approx([0.35, 0.0, 0.0])
    assert (gaps.greedy_s > 0).all()
    assert (gaps.exact_s > 0).all()


def test_the_time_ratio_is_a_median_over_instances() -> None:
    gaps = GreedyGaps(np.ones(3), np.ones(3), np.array([1.0, 1.0, 2.0]), np.array([10.0, 30.0, 200.0]))
    assert gaps.time_ratio == 30.0


def test_instances_that_make_no_sense_are_refused() -> None:
    with pytest.raises(AndesError, match="no knapsack instances"):
        greedy_gaps([])
    with pytest.raises(AndesError, match="one entry for each request"):
        greedy_gap(np.ones(3), np.ones(2, np.int64), 5, 5)
    with pytest.raises(AndesError, match="finite"):
        greedy_gap(np.array([np.nan]), np.ones(1, np.int64), 5, 5)
    with pytest.raises(AndesError, match="weights >= 0"):
        greedy_gap(np.ones(1), np.array([-1]), 5, 5)
    with pytest.raises(CapacityError, match="must be >= 0"):
        greedy_gap(np.ones(1), np.ones(1, np.int64), -5, 5)
    with pytest.raises(CapacityError, match="GiB"):
        greedy_gap(np.ones(5000), np.full(5000, 100), 100_000, 1000)
