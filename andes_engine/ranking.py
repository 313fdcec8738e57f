"""Live requests by falling priority, from the order of the last plan: most of it still holds, so sorting is almost linear.

Running requests come in the order of the last plan, those that wait are remembered. Three groups are put in order and merged:
waiting, running, and running with no priority because their readers are far ahead.

Those that broke the old order are taken out, sorted among themselves and merged back
(Emil Ernerfeldt's drop-merge sort, github.com/emilk/drop-merge-sort).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_IN_A_ROW = 8
"""So many taken out one after the other say that it is the one kept before them that is out of place."""

_SHORT = 8
"""Up to so many are sorted by insertion."""


@compiled
def rank_by_priority(
    rows: IntArray,
    running: int,
    priority: FloatArray,
    arrival_s: FloatArray,
    ranking: IntArray,
    places: IntArray,
    scratch: IntArray,
    order: IntArray,
) -> None:
    """Order positions by falling priority, earlier arrival and lower row first among equals: a total order.

    The result does not depend on `ranking`; the time it takes does.

    Args:
        rows: Rows of the live requests. Shape (n,).
        running: How many of them run, the first ones.
        priority: Priority of each position in `rows`. Shape (n,).
        arrival_s: Arrival, likewise. Shape (n,).
        ranking: Count and rows of those that waited in the last order; receives the new one. Shape (>= n + 1,).
        places: Scratch, by row.
        scratch: Shape (3, >= n).
        order: Receives positions in `rows`. Shape (n,).
    """
    wait = len(rows) - running
    # positions unsigned: numba wraps signed ones round the end, which costs as much as what they are for
    runners, idle, moved = scratch[0].view(np.uint64), scratch[1].view(np.uint64), scratch[2].view(np.uint64)
    run = _part(priority[:running], runners, idle)
    _recall(rows, running, ranking, places, order)
    ordered, spare = order.view(np.uint64), places.view(np.uint64)
    for group in (ordered[:wait], runners[:run], idle[: running - run]):
        kept = _take_out(rows, priority, arrival_s, group, moved)
        _sort(rows, priority, arrival_s, moved[: len(group) - kept], spare)
        _merge_back(rows, priority, arrival_s, moved[: len(group) - kept], group)
    ranking[0] = wait
    for place in range(wait):
        ranking[1 + place] = rows[order[place]]
    _merge_back(rows, priority, arrival_s, runners[:run], ordered[: wait + run])
    _merge_back(rows, priority, arrival_s, idle[: running - run], ordered)


@compiled
def _part(priority: FloatArray, some: IntArray, none: IntArray) -> int:
    """Positions of some priority and of none, which keep their order better apart. Returns how many have some."""
    count = 0
    for position in range(len(priority)):
        some[count] = position
        none[position - count] = position
        count += priority[position] != 0.0
    return count


@compiled
def _recall(rows: IntArray, running: int, ranking: IntArray, places: IntArray, order: IntArray) -> None:
    """Positions of those that wait in their old order, those that are new behind them."""
    n, count = len(rows), 0
    for position in range(running, n):
        places[rows[position]] = position
    for place in range(ranking[0]):
        row = ranking[1 + place]
        position = places[row]
        if running <= position < n and rows[position] == row:
            order[count] = position
            count += 1
            places[row] = -1
    for position in range(running if count < n - running else n, n):
        if places[rows[position]] >= 0:
            order[count] = position
            count += 1


@compiled
def _comes_before(rows: IntArray, priority: FloatArray, arrival_s: FloatArray, first: int, second: int) -> bool:
    if priority[first] != priority[second]:
        return priority[first] > priority[second]
    if arrival_s[first] != arrival_s[second]:
        return arrival_s[first] < arrival_s[second]
    return rows[first] < rows[second]


@compiled
def _take_out(rows: IntArray, priority: FloatArray, arrival_s: FloatArray, order: IntArray, moved: IntArray) -> int:
    """Move what breaks the order to `moved`; what is left, the first so many of `order`, is sorted. Returns how many."""
    kept, out, in_a_row, place = 0, 0, 0, 0
    last, last_s = np.inf, -np.inf
    while place < len(order):
        position = order[place]
        if priority[position] < last or (priority[position] == last and arrival_s[position] > last_s):
            in_order = True  # nearly always
        else:
            in_order = kept == 0 or not _comes_before(rows, priority, arrival_s, position, order[kept - 1])
        if in_order:
            kept += 1
        elif kept == 1 or not _comes_before(rows, priority, arrival_s, position, order[kept - 2]):
            moved[out] = order[kept - 1]
            out += 1
        elif in_a_row < _IN_A_ROW:
            moved[out] = position
            out += 1
            in_a_row += 1
            place += 1
            continue
        else:  # go back to the first of the row, and take out those before it that it overtakes
            out -= in_a_row
            place -= in_a_row
            position = order[place]
            while kept > 0 and _comes_before(rows, priority, arrival_s, position, order[kept - 1]):
                moved[out] = order[kept - 1]
                out += 1
                kept -= 1
            kept += 1
        order[kept - 1] = position
        last, last_s = priority[position], arrival_s[position]
        in_a_row = 0
        place += 1
    return kept


@compiled
def _sort(rows: IntArray, priority: FloatArray, arrival_s: FloatArray, moved: IntArray, scratch: IntArray) -> None:
    """Merge sort, from short runs sorted by insertion."""
    n, width = len(moved), _SHORT
    for start in range(0, n, width):
        for place in range(start + 1, min(start + width, n)):
            position, at = moved[place], place
            while at > start and _comes_before(rows, priority, arrival_s, position, moved[at - 1]):
                moved[at] = moved[at - 1]
                at -= 1
            moved[at] = position
    while width < n:
        for start in range(0, n - width, 2 * width):
            left, right, end = 0, start + width, min(start + 2 * width, n)
            for place in range(width):
                scratch[place] = moved[start + place]
            at = start
            while left < width:
                if right < end and _comes_before(rows, priority, arrival_s, moved[right], scratch[left]):
                    moved[at] = moved[right]
                    right += 1
                else:
                    moved[at] = scratch[left]
                    left += 1
                at += 1
        width *= 2


@compiled
def _merge_back(rows: IntArray, priority: FloatArray, arrival_s: FloatArray, moved: IntArray, order: IntArray) -> None:
    """Put the sorted `moved` into the sorted first part of `order`, the last ones first."""
    at = len(order) - 1
    kept, out = len(order) - len(moved) - 1, len(moved) - 1
    while out >= 0:
        while kept >= 0 and _comes_before(rows, priority, arrival_s, moved[out], order[kept]):
            order[at] = order[kept]
            at -= 1
            kept -= 1
        order[at] = moved[out]
        at -= 1
        out -= 1
