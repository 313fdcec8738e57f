"""The knapsack of Andes, greedy: who is in the batch, given a value and a weight per request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@compiled
def pack(
    order: IntArray, gain: FloatArray, weight_blocks: IntArray, capacity_blocks: int, max_batch: int, chosen: BoolArray
) -> float:
    """Choose the requests to serve next: greedy knapsack, in priority order, taking what fits.

    Andes section 4, Algorithm 1: O(n) after sorting. A request that does not fit is skipped, not a stop.

    Args:
        order: Request positions by falling priority. Shape (n,).
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
    for position in order:
        if max_batch == 0:
            break
        if weight_blocks[position] <= capacity_blocks:
            chosen[position] = True
            capacity_blocks -= weight_blocks[position]
            max_batch -= 1
            total += gain[position]
    return total


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
