"""The knapsack of Andes, greedy: who is in the batch, given a value and a weight per request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.ranking import ONE, ZERO, PositionArray, Ranks, comes_before

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@compiled
def pack(
    ranks: Ranks,
    ranked: PositionArray,
    running: int,
    gain: FloatArray,
    weight_blocks: IntArray,
    capacity_blocks: int,
    max_batch: int,
    chosen: BoolArray,
) -> float:
    """Choose the requests to serve next: greedy knapsack, in priority order, taking what fits.

    Andes section 4, Algorithm 1: O(n) after sorting. A request that does not fit is skipped, not a stop, and need not be compared
    with anybody: nothing makes room for it later.

    Args:
        ranks: Who comes before whom, by position. Shape (n,).
        ranked: Positions in two sorted groups. Shape (n,).
        running: Positions in the first of them.
        gain: QoE gain of serving each request over the horizon. Shape (n,), dimensionless.
        weight_blocks: KV blocks each request needs. Shape (n,).
        capacity_blocks: KV blocks to share out.
        max_batch: Requests at most.
        chosen: Receives the choice. Shape (n,).

    Returns:
        Total gain of the chosen requests.
    """
    chosen[:] = False
    total = 0.0
    first, first_end, second_end = ZERO, np.uint64(running), np.uint64(len(ranked))
    second = first_end
    while max_batch > 0:
        while first < first_end and weight_blocks[ranked[first]] > capacity_blocks:
            first += ONE
        while second < second_end and weight_blocks[ranked[second]] > capacity_blocks:
            second += ONE
        if first == first_end and second == second_end:
            break
        if second == second_end or (first < first_end and comes_before(ranks, ranked[first], ranked[second])):
            position = ranked[first]
            first += ONE
        else:
            position = ranked[second]
            second += ONE
        chosen[position] = True
        capacity_blocks -= weight_blocks[position]
        max_batch -= 1
        total += gain[position]
    return total


def pack_sorted(
    order: IntArray, gain: FloatArray, weight_blocks: IntArray, capacity_blocks: int, max_batch: int, chosen: BoolArray
) -> float:
    """`pack` of positions that are in one order already, whatever it is."""
    alone = Ranks(gain, gain, order)  # nobody is compared: there is no second group
    return float(pack(alone, order, len(order), gain, weight_blocks, capacity_blocks, max_batch, chosen))


@compiled_allocating
def largest_batch(weight_blocks: IntArray, capacity_blocks: int, max_batch: int) -> int:
    """B_max of Andes: how many requests fit when the shortest contexts go first."""
    count = 0
    for weight in np.sort(weight_blocks):
        if weight > capacity_blocks or count == max_batch:
            break
        capacity_blocks -= weight
        count += 1
    return count
