"""Live requests by falling priority, from the order of the last plan: most of it still holds, so sorting is almost linear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.request import Requests

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOVES_PER_REQUEST = 8
"""Beyond this many moves per request on average, sorting anew is cheaper than mending the old order."""


@compiled
def rank_by_priority(
    table: Requests, rows: IntArray, priority: FloatArray, ranking: IntArray, places: IntArray, order: IntArray
) -> None:
    """Order positions by falling priority, earlier arrival and lower row first among equals: a total order.

    The result does not depend on `ranking`; the time it takes does.

    Args:
        table: Live requests.
        rows: Rows of the live requests. Shape (n,).
        priority: Priority of each position in `rows`. Shape (n,).
        ranking: Count and rows of the last order; receives the new one. Shape (>= n + 1,).
        places: Scratch, by row.
        order: Receives positions in `rows`. Shape (n,).
    """
    n = len(rows)
    _recall(rows, ranking, places, order)
    if not _mend(table, rows, priority, order, _MOVES_PER_REQUEST * n + 64):
        _sort_anew(table, rows, priority, order)
        _mend(table, rows, priority, order, n * n + 1)
    ranking[0] = n
    for place in range(n):
        ranking[1 + place] = rows[order[place]]


@compiled
def _recall(rows: IntArray, ranking: IntArray, places: IntArray, order: IntArray) -> None:
    """Positions in the old order, those that are new behind them."""
    n, count = len(rows), 0
    for position in range(n):
        places[rows[position]] = position
    for place in range(ranking[0]):
        row = ranking[1 + place]
        position = places[row]
        if 0 <= position < n and rows[position] == row:
            order[count] = position
            count += 1
            places[row] = -1
    if count == n:
        return
    for position in range(n):
        if places[rows[position]] >= 0:
            order[count] = position
            count += 1


@compiled_allocating
def _sort_anew(table: Requests, rows: IntArray, priority: FloatArray, order: IntArray) -> None:
    """By priority, then arrival; what is equal in both is left to `_mend`."""
    by_arrival = np.argsort(table.arrival_s[rows], kind="mergesort")
    order[:] = by_arrival[np.argsort(-priority[by_arrival], kind="mergesort")]


@compiled
def _mend(table: Requests, rows: IntArray, priority: FloatArray, order: IntArray, moves: int) -> bool:
    """Insertion sort that gives up after so many moves; whether it finished."""
    for place in range(1, len(order)):
        position = order[place]
        at = place
        while at > 0 and _comes_before(table, rows, priority, position, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = position
        moves -= place - at
        if moves < 0:
            return False
    return True


@compiled
def _comes_before(table: Requests, rows: IntArray, priority: FloatArray, first: int, second: int) -> bool:
    if priority[first] != priority[second]:
        return priority[first] > priority[second]
    arrival_s, other_s = table.arrival_s[rows[first]], table.arrival_s[rows[second]]
    return arrival_s < other_s if arrival_s != other_s else rows[first] < rows[second]
