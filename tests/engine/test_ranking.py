"""The order of live requests: a total one, whatever the last one was."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.ranking import Ranks, rank_by_priority

FEW, MANY = 3, 10_000
"""Different priorities and arrivals there are: with few, ties decide."""


def ranked(
    rows: np.ndarray, running: int, priority: np.ndarray, arrival_s: np.ndarray, ranking: np.ndarray, table_rows: int
) -> list[int]:
    order, scratch = np.zeros(len(rows), dtype=np.uint32), np.zeros((3, len(rows)), dtype=np.uint32)
    places = np.random.default_rng(1).integers(
        0, table_rows + 5, table_rows, dtype=np.uint32
    )  # whatever was left there
    rank_by_priority(Ranks(priority, arrival_s, rows.astype(np.uint32)), running, ranking, places, scratch, order)
    return order.tolist()


@given(st.integers(0, 10_000), st.integers(1, 120), st.sampled_from([FEW, MANY]), st.floats(0.0, 1.0))
def test_is_sorted_whatever_the_last_order_was(seed: int, live: int, values: int, none: float) -> None:
    """Over three plans, in which priorities change, some requests leave, others come, and places change."""
    rng = np.random.default_rng(seed)
    table_rows = 2 * live
    table_arrival_s = rng.integers(0, values, table_rows).astype(float)
    ranking = np.zeros(1 + table_rows, dtype=np.int64)
    priorities = rng.integers(0, values, table_rows).astype(float)
    for _ in range(3):
        rows = rng.permutation(table_rows)[: rng.integers(1, live + 1)]
        priorities[rng.random(table_rows) < 0.2] = rng.integers(0, values)
        priorities[rng.random(table_rows) < none] = 0.0
        priority, arrival_s = priorities[rows], table_arrival_s[rows]
        running = int(rng.integers(0, len(rows) + 1))
        order = ranked(rows, running, priority, arrival_s, ranking, table_rows)
        assert order == sorted(range(len(rows)), key=lambda at: (at >= running, -priority[at], arrival_s[at], rows[at]))


@given(st.integers(1, 60), st.integers(0, 60))
def test_one_that_falls_and_one_that_rises(live: int, far: int) -> None:
    """Orders that are sorted but for one request, from either end."""
    rows, arrival_s = np.arange(live), np.zeros(live)
    for place, value in ((0, -1.0), (live - 1, 2.0 * live), (far % live, live / 2.0)):
        priority = np.arange(live, 0, -1).astype(float)
        priority[place] = value
        ranking = np.array([live, *rows])
        order = ranked(rows, 0, priority, arrival_s, ranking, live)
        assert order == sorted(range(live), key=lambda at: (-priority[at], at))
        assert ranking.tolist() == [live, *order]


def test_a_row_given_twice_is_no_endless_search() -> None:
    """Nobody should, but a server would stand still."""
    rows, ranking = np.array([3, 1, 1, 2]), np.zeros(6, dtype=np.int64)
    for _ in range(2):
        ranked(rows, 1, np.array([1.0, 2.0, 2.0, 3.0]), np.zeros(4), ranking, 5)
    assert ranking[0] == 3
