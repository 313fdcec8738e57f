"""The knapsack of Andes, greedy: who is in the batch, given a value and a weight per request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.ranking import ONE, ZERO, Ranked, Ranks, comes_before

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@compiled
def pack(
    order: Ranked,
    gain: FloatArray,
    weight_blocks: IntArray,
    capacity_blocks: int,
    max_batch: int,
    add_up: bool,
    chosen: BoolArray,
) -> float:
    """Choose the requests to serve next: greedy knapsack, in priority order, taking what fits.

    Andes section 4, Algorithm 1: O(n) after sorting. A request that does not fit is skipped, not a stop, and need not be compared
    with anybody: nothing makes room for it later.

    Args:
        order: Their order, positions in two groups.
        gain: QoE gain of serving each request over the horizon. Shape (n,), dimensionless.
        weight_blocks: KV blocks each request needs. Shape (n,).
        capacity_blocks: KV blocks to share out.
        max_batch: Requests at most.
        add_up: Whether the total matters; one by one then, as a sum depends on its order.
        chosen: Receives the choice. Shape (n,).

    Returns:
        Total gain of the chosen requests; if it does not matter, of some of them.
    """
    chosen[:] = False
    total, ranks, ranked = 0.0, order.ranks, order.positions
    first, first_end, second_end = ZERO, np.uint64(order.running), np.uint64(len(ranked))
    second = first_end
    if not add_up:
        first, second = _surely_fit(order, weight_blocks, capacity_blocks, max_batch)
        for place in range(ZERO, first):
            chosen[ranked[place]] = True
            capacity_blocks -= weight_blocks[ranked[place]]
            max_batch -= 1
        for place in range(first_end, second):
            chosen[ranked[place]] = True
            capacity_blocks -= weight_blocks[ranked[place]]
            max_batch -= 1
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


@compiled
def _surely_fit(
    order: Ranked, weight_blocks: IntArray, capacity_blocks: int, max_batch: int
) -> tuple[np.uint64, np.uint64]:
    """Where to begin to compare the groups: all before fit together, so their order among each other is nothing to choose by.

    Room is set aside for the running requests of some priority, then waiting ones of some priority are taken while they fit.

    Returns:
        The places of the first running and the first waiting request that are not among them.
    """
    ranks, ranked = order.ranks, order.positions
    first, first_end, second_end = ZERO, np.uint64(order.running), np.uint64(len(ranked))
    second = first_end
    while first < first_end and ranks.priority[ranked[first]] > 0.0:
        capacity_blocks -= weight_blocks[ranked[first]]
        max_batch -= 1
        first += ONE
    if capacity_blocks < 0 or max_batch < 0:
        return ZERO, first_end
    while second < second_end and ranks.priority[ranked[second]] > 0.0:
        capacity_blocks -= weight_blocks[ranked[second]]
        max_batch -= 1
        if capacity_blocks < 0 or max_batch < 0:
            break
        second += ONE
    while first > ZERO and second < second_end and not comes_before(ranks, ranked[first - ONE], ranked[second]):
        first -= ONE
    return first, second


def pack_sorted(
    order: IntArray, gain: FloatArray, weight_blocks: IntArray, capacity_blocks: int, max_batch: int, chosen: BoolArray
) -> float:
    """`pack` of positions that are in one order already, whatever it is."""
    positions = order.astype(np.uint32)
    alone = Ranked(Ranks(gain, gain, positions), positions, len(order))  # nobody is compared: there is no second group
    return float(pack(alone, gain, weight_blocks, capacity_blocks, max_batch, True, chosen))


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
