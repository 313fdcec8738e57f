"""Live requests by falling priority, from the order of the last plan: most of it still holds, so sorting is almost linear.

Running requests come in the order of the last plan, those that wait are remembered. Three groups are put in order: waiting,
running, and running with no priority because their readers are far ahead. Who comes a few places too late in the old order is
inserted where it belongs. Those that are further off are taken out, sorted among themselves and merged back
(Emil Ernerfeldt's drop-merge sort, github.com/emilk/drop-merge-sort).

Positions and places are unsigned: numba wraps signed ones round the end, which costs as much as what they are for. It also makes
a poor loop of a range of unsigned numbers, hence `while`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
PositionArray = NDArray[np.uint32]

ZERO, ONE = np.uint64(0), np.uint64(1)

_NEAR = np.uint64(16)
"""Places that one is moved up at most; whoever has to go further is taken out."""

_OVERTAKEN = 3
"""So many that overtake the same one, one after the other, say that it is that one which is out of place."""

_SHORT = np.uint64(8)
"""Up to so many are sorted by insertion."""

_RECALLED = np.uint32(2**32 - 1)


class Ranks(NamedTuple):
    """What decides who comes first, by position: falling priority, then earlier arrival, then the lower row. A total order."""

    priority: FloatArray
    arrival_s: FloatArray
    rows: PositionArray


class Ranked(NamedTuple):
    """What `rank_by_priority` leaves: positions of running requests in order, then those of waiting ones; how many run."""

    ranks: Ranks
    positions: PositionArray
    running: int


@compiled
def comes_before(ranks: Ranks, first: int, second: int) -> bool:
    """Whether a position comes before another one."""
    if ranks.priority[first] != ranks.priority[second]:
        return ranks.priority[first] > ranks.priority[second]
    if ranks.arrival_s[first] != ranks.arrival_s[second]:
        return ranks.arrival_s[first] < ranks.arrival_s[second]
    return ranks.rows[first] < ranks.rows[second]


@compiled
def rank_by_priority(
    ranks: Ranks,
    running: int,
    ranking: IntArray,
    places: PositionArray,
    scratch: PositionArray,
    ranked: PositionArray,
) -> None:
    """Put the positions of running requests in order, and those of waiting ones.

    The result does not depend on `ranking`; the time it takes does.

    Args:
        ranks: Of the live requests, running first. Shape (n,).
        running: How many of them run.
        ranking: Count and rows of those that waited in the last order; receives the new one. Shape (>= n + 1,).
        places: Scratch, by row.
        scratch: Shape (3, >= n).
        ranked: Receives the positions of those that run in order, then those of the others in order. Shape (n,).
    """
    runners, others = ranked[:running], ranked[running:]
    busy = _part(ranks.priority[:running], runners, scratch[0])
    idle = scratch[0][: running - busy]
    _recall(ranks.rows[running:], running, ranking, places, others)
    for group in (runners[:busy], idle, others):
        _sort_again(ranks, group, scratch[1], scratch[2])
    _append(ranks, idle, runners)
    ranking[0] = len(others)
    for place in range(len(others)):
        ranking[1 + place] = ranks.rows[others[place]]


@compiled
def _part(priority: FloatArray, some: PositionArray, none: PositionArray) -> np.int64:
    """Positions of some priority and of none, which keep their order better apart. Returns how many have some."""
    position, n, count = ZERO, np.uint64(len(priority)), ZERO
    while position < n:
        some[count] = position
        none[position - count] = position
        if priority[position] != 0.0:
            count += ONE
        position += ONE
    return np.int64(count)


@compiled
def _recall(rows: PositionArray, running: int, ranking: IntArray, places: PositionArray, order: PositionArray) -> None:
    """Positions of those that wait in their old order, those that are new behind them."""
    n, at, first = np.uint64(len(rows)), ZERO, np.uint64(running)
    for place in range(len(rows)):
        places[rows[place]] = place
    for index in range(1, 1 + ranking[0]):
        row = np.uint32(ranking[index])
        place = places[row]
        if place < n and rows[place] == row:
            order[at] = first + place
            at += ONE
            places[row] = _RECALLED
    fresh = n
    while at < n and fresh > ZERO:  # most of them have just arrived; a row given twice is found once
        fresh -= ONE
        if places[rows[fresh]] != _RECALLED:
            order[at] = first + fresh
            at += ONE


@compiled
def _sort_again(ranks: Ranks, order: PositionArray, moved: PositionArray, scratch: PositionArray) -> None:
    """Sort positions most of which are in order."""
    breaks = scratch[: _compare(ranks, order, scratch)]
    if len(breaks) == 0:
        return
    out = _tidy(ranks, order, breaks, moved)
    if out > 0:
        _sort(ranks, moved[:out], scratch)
        _merge_back(ranks, moved[:out], order)


@compiled
def _compare(ranks: Ranks, order: PositionArray, breaks: PositionArray) -> np.int64:
    """Note the places of those not sure to come after the one before, without branches, which ties would make unpredictable.

    Returns how many there are.
    """
    last, last_s, count = np.inf, -np.inf, ZERO
    for place in range(len(order)):
        mine, mine_s = ranks.priority[order[place]], ranks.arrival_s[order[place]]
        breaks[count] = place  # overwritten by the next one unless counted
        count += np.uint64(not ((mine < last) | ((mine == last) & (mine_s > last_s))))
        last, last_s = mine, mine_s
    return np.int64(count)


@compiled
def _tidy(ranks: Ranks, order: PositionArray, breaks: PositionArray, moved: PositionArray) -> np.int64:
    """Sort `order`, but for those far from where they belong: they go to `moved`. Returns how many do."""
    place, n, kept, out, overtaken = ZERO, np.uint64(len(order)), ZERO, ZERO, 0
    at, known = ZERO, np.uint64(len(breaks))
    while place < n:
        if overtaken == 0:  # nearly always: all up to the next break are in order
            while at < known and breaks[at] < place:
                at += ONE
            end = np.uint64(breaks[at]) if at < known else n
            if kept == place:
                kept = place = end
            while place < end:
                order[kept] = order[place]
                kept += ONE
                place += ONE
            if place == n:
                break
        position = order[place]
        place += ONE
        if kept == ZERO or not comes_before(ranks, position, order[kept - ONE]):
            order[kept] = position
            kept += ONE
            overtaken = 0
            continue
        overtaken += 1
        if overtaken == _OVERTAKEN:
            kept -= ONE
            moved[out] = order[kept]
            out += ONE
            overtaken = 1
        if kept > _NEAR and comes_before(ranks, position, order[kept - _NEAR]):
            moved[out] = position
            out += ONE
        else:
            _insert(ranks, position, order, kept)
            kept += ONE
    return np.int64(out)


@compiled
def _insert(ranks: Ranks, position: int, order: PositionArray, count: np.uint64) -> None:
    """Put a position where it belongs among the first so many, which are sorted."""
    while count > ZERO and comes_before(ranks, position, order[count - ONE]):
        order[count] = order[count - ONE]
        count -= ONE
    order[count] = position


@compiled
def _sort(ranks: Ranks, moved: PositionArray, scratch: PositionArray) -> None:
    """Merge sort, from short runs sorted by insertion."""
    n, width = np.uint64(len(moved)), _SHORT
    for start in range(ZERO, n, width):
        run = moved[start : min(start + width, n)]
        for place in range(np.uint64(len(run))):
            _insert(ranks, run[place], run, place)
    while width < n:
        for start in range(ZERO, n - width, width + width):
            left, right, end = ZERO, start + width, min(start + width + width, n)
            for place in range(width):
                scratch[place] = moved[start + place]
            at = np.uint64(start)
            while left < width:
                if right < end and comes_before(ranks, moved[right], scratch[left]):
                    moved[at] = moved[right]
                    right += ONE
                else:
                    moved[at] = scratch[left]
                    left += ONE
                at += ONE
        width += width


@compiled
def _merge_back(ranks: Ranks, moved: PositionArray, order: PositionArray) -> None:
    """Put the sorted `moved` into the sorted first part of `order`, the last ones first."""
    at, kept, out = np.uint64(len(order)), np.uint64(len(order) - len(moved)), np.uint64(len(moved))
    while out > ZERO:
        last = moved[out - ONE]
        while kept > ZERO and comes_before(ranks, last, order[kept - ONE]):
            at -= ONE
            kept -= ONE
            order[at] = order[kept]
        at -= ONE
        out -= ONE
        order[at] = last


@compiled
def _append(ranks: Ranks, moved: PositionArray, order: PositionArray) -> None:
    """Like `_merge_back` for those that nearly always come behind all of the first part."""
    kept = len(order) - len(moved)
    if 0 < kept < len(order) and comes_before(ranks, moved[0], order[kept - 1]):
        _merge_back(ranks, moved, order)
        return
    rest = order[kept:]
    for place in range(len(moved)):
        rest[place] = moved[place]
