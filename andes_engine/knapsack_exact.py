"""The knapsack of Andes, exact: the dynamic programme that the greedy `knapsack.pack` is measured against.

Andes (arXiv 2404.16283, section 4) solves it in three dimensions, requests x batch x memory: O(N B M) time. Two things keep it in
seconds and tens of megabytes. The batch limit is a dimension only where it binds: without it two dimensions suffice, and if that
optimum is within the limit it is the answer. And what has to be remembered to tell who was chosen is one bit per state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled_allocating

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
BitArray = NDArray[np.uint8]

_NO_LIMIT = -1  # as batch: requests are not counted, two dimensions suffice
_BITS = 8  # choices in a byte


def exact_memory_bytes(requests: int, capacity_blocks: int, max_batch: int) -> int:
    """Memory that either function takes at most, bytes: 47 MB for 500 requests, 2588 blocks and a batch of 256."""
    sizes = min(requests, max_batch) + 1
    return sizes * (capacity_blocks + 1) * 8 + requests * sizes * (capacity_blocks // _BITS + 1)


@compiled_allocating
def pack_exact(
    gain: FloatArray, weight_blocks: IntArray, capacity_blocks: int, max_batch: int, chosen: BoolArray
) -> float:
    """Choose the requests with the largest total gain among all choices that fit.

    Args:
        gain: QoE gain of serving each request over the horizon. Shape (n,), dimensionless; never taken unless > 0.
        weight_blocks: KV blocks each request needs, >= 0. Shape (n,).
        capacity_blocks: KV blocks to share out, >= 0.
        max_batch: Requests at most, >= 0.
        chosen: Receives the choice. Shape (n,).

    Returns:
        Total gain of the chosen requests.
    """
    items = np.flatnonzero((gain > 0.0) & (weight_blocks <= capacity_blocks))
    capacity = min(capacity_blocks, weight_blocks[items].sum())
    _solve(gain, weight_blocks, items, capacity, _NO_LIMIT, 0.0, chosen)
    if chosen.sum() > max_batch:
        _solve(gain, weight_blocks, items, capacity, max_batch, 0.0, chosen)
    return gain[chosen].sum()


@compiled_allocating
def pack_exact_of_size(
    gain: FloatArray, weight_blocks: IntArray, capacity_blocks: int, batch: int, chosen: BoolArray
) -> float:
    """Like `pack_exact` with exactly `batch` requests, the paper's own constraint; negative gains are taken if need be.

    Returns:
        Total gain of the chosen requests; minus infinity, with nothing chosen, if no `batch` requests fit.
    """
    items = np.flatnonzero(weight_blocks <= capacity_blocks)
    capacity = min(capacity_blocks, weight_blocks[items].sum())
    if batch > len(items) or not _solve(gain, weight_blocks, items, capacity, batch, -np.inf, chosen):
        chosen[:] = False
        return -np.inf
    return gain[chosen].sum()


@compiled_allocating
def _solve(
    gain: FloatArray,
    weight_blocks: IntArray,
    items: IntArray,
    capacity_blocks: int,
    batch: int,
    unfilled: float,
    chosen: BoolArray,
) -> bool:
    """Fill the table of best gains by (requests, blocks), item by item and in place, then read the choice off its bits.

    Args:
        gain: As in `pack_exact`.
        weight_blocks: As in `pack_exact`.
        items: Positions to choose from. Shape (m,).
        capacity_blocks: As in `pack_exact`.
        batch: Requests, or `_NO_LIMIT`.
        unfilled: Worth of a batch with a place left empty: 0 where `batch` is a limit, minus infinity where it must be met.
        chosen: Receives the choice. Shape (n,).

    Returns:
        Whether any choice is allowed.
    """
    counts = 0 if batch == _NO_LIMIT else 1  # what a request takes of the batch
    sizes = 1 if batch == _NO_LIMIT else batch + 1
    best = np.full((sizes, capacity_blocks + 1), unfilled)
    best[0] = 0.0
    taken = np.zeros((len(items), sizes, capacity_blocks // _BITS + 1), np.uint8)
    for stage in range(len(items)):
        item_gain, weight = gain[items[stage]], weight_blocks[items[stage]]
        for size in range(min(sizes - 1, stage + 1), counts - 1, -1):  # falling, like the blocks below, so that
            old, fewer, bits = best[size], best[size - counts], taken[stage, size]  # nobody is taken twice
            for blocks in range(capacity_blocks, weight - 1, -1):
                total = fewer[blocks - weight] + item_gain
                if total > old[blocks]:
                    old[blocks] = total
                    bits[blocks // _BITS] |= np.uint8(1 << (blocks % _BITS))
    _read_choice(taken, weight_blocks, items, capacity_blocks, counts, chosen)
    return best[sizes - 1, capacity_blocks] > -np.inf


@compiled_allocating
def _read_choice(
    taken: BitArray, weight_blocks: IntArray, items: IntArray, blocks: int, counts: int, chosen: BoolArray
) -> None:
    """Walk back from the full batch and memory: a set bit says that the item was taken there."""
    chosen[:] = False
    size = taken.shape[1] - 1
    for stage in range(len(items) - 1, -1, -1):
        if taken[stage, size, blocks // _BITS] >> (blocks % _BITS) & 1:
            chosen[items[stage]] = True
            blocks -= weight_blocks[items[stage]]
            size -= counts
