"""The block pool of vLLM's prefix cache: free blocks in eviction order, and blocks findable by what they hold.

Semantics of vLLM 0.32.0, `v1/core/block_pool.py`: free blocks form one list; a block is taken from its head, and is no longer
findable from then on; freed blocks that are findable go to its tail, a request's last block first, the others to its head; a
findable block that is used again leaves the list. Only engines with prefix caching keep one; the others count blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating

IntArray = NDArray[np.int64]

NO_KEY = np.int64(-(2**62))


class BlockPool(NamedTuple):
    """Blocks 1..n; 0 is the sentinel of the free list. Every array may have the engine as leading axis.

    `after`, `before`: the free list. Shape (n + 1,). `users`: requests that hold a block. `key`: what it holds, or NO_KEY.
    `buckets`: hash table from key to block, 0 where empty; a power of two. `held`: blocks of each running slot.
    `slots`: how many slots are free, then which. Shape (1 + max_num_seqs,).
    """

    after: IntArray
    before: IntArray
    users: IntArray
    key: IntArray
    buckets: IntArray
    held: NDArray[np.int32]
    slots: IntArray


def empty_pool(engines: int, kv_blocks: int, max_num_seqs: int, max_blocks_per_seq: int) -> BlockPool:
    """Arrays for pools of up to so many blocks; `reset_pool` makes one usable. No blocks: nothing is kept."""
    buckets = 1 << int(np.ceil(np.log2(2 * kv_blocks + 2)))
    after, before, users, key = np.zeros((4, engines, kv_blocks + 1), dtype=np.int64)
    return BlockPool(
        after,
        before,
        users,
        key,
        np.zeros((engines, buckets), dtype=np.int64),
        np.zeros((engines, max_num_seqs, max_blocks_per_seq), dtype=np.int32),
        np.zeros((engines, 1 + max_num_seqs), dtype=np.int64),
    )


@compiled_allocating
def pool_of(pools: BlockPool, index: int) -> BlockPool:
    """The pool of one engine."""
    return BlockPool(
        pools.after[index],
        pools.before[index],
        pools.users[index],
        pools.key[index],
        pools.buckets[index],
        pools.held[index],
        pools.slots[index],
    )


def reset_pool(pool: BlockPool, kv_blocks: int, max_num_seqs: int) -> None:
    """All blocks free, none findable, all slots free."""
    pool.users[:] = 0
    pool.key[:] = NO_KEY
    pool.buckets[:] = 0
    blocks = np.arange(kv_blocks + 1)
    pool.after[: kv_blocks + 1] = (blocks + 1) % (kv_blocks + 1)
    pool.before[: kv_blocks + 1] = (blocks - 1) % (kv_blocks + 1)
    pool.slots[0] = max_num_seqs
    pool.slots[1 : 1 + max_num_seqs] = np.arange(max_num_seqs)[::-1]


@compiled
def take_slot(pool: BlockPool) -> int:
    """A row of the block table for a request that starts."""
    pool.slots[0] -= 1
    return pool.slots[1 + pool.slots[0]]


@compiled
def give_slot(pool: BlockPool, slot: int) -> None:
    """The row back."""
    pool.slots[1 + pool.slots[0]] = slot
    pool.slots[0] += 1


@compiled
def take_block(pool: BlockPool) -> int:
    """The block that was free longest; what it held is lost."""
    block = pool.after[0]
    _unlink(pool, block)
    if pool.key[block] != NO_KEY:
        _forget(pool, block)
    pool.users[block] = 1
    return block


@compiled
def use_again(pool: BlockPool, block: int) -> None:
    """One more request holds a findable block."""
    if pool.users[block] == 0:
        _unlink(pool, block)
    pool.users[block] += 1


@compiled
def give_blocks(pool: BlockPool, slot: int, count: int) -> int:
    """A request lets its blocks go, last first. Returns how many became free."""
    freed, front = 0, 0
    for index in range(count - 1, -1, -1):
        block = pool.held[slot, index]
        pool.users[block] -= 1
        if pool.users[block] > 0:
            continue
        freed += 1
        if pool.key[block] == NO_KEY:
            _link_after(pool, front, block)
            front = block
        else:
            _link_after(pool, pool.before[0], block)
    return freed


@compiled
def find(pool: BlockPool, key: int) -> int:
    """The block that holds this, the first of several; 0 if none."""
    mask = pool.buckets.shape[0] - 1
    at = _home(key, mask)
    while pool.buckets[at] != 0:
        if pool.key[pool.buckets[at]] == key:
            return pool.buckets[at]
        at = (at + 1) & mask
    return 0


@compiled
def make_findable(pool: BlockPool, block: int, key: int) -> None:
    """A block is full and can be found from now on."""
    if pool.key[block] != NO_KEY:
        return
    mask = pool.buckets.shape[0] - 1
    at = _home(key, mask)
    while pool.buckets[at] != 0:
        at = (at + 1) & mask
    pool.buckets[at] = block
    pool.key[block] = key


@compiled
def _forget(pool: BlockPool, block: int) -> None:
    """Take a block out of the hash table, moving later entries of its probe run back (Knuth, vol. 3, 6.4, algorithm R)."""
    mask = pool.buckets.shape[0] - 1
    hole = _home(pool.key[block], mask)
    while pool.buckets[hole] != block:
        hole = (hole + 1) & mask
    pool.key[block] = NO_KEY
    at = hole
    while True:
        pool.buckets[hole] = 0
        while True:
            at = (at + 1) & mask
            if pool.buckets[at] == 0:
                return
            home = _home(pool.key[pool.buckets[at]], mask)
            if ((at - home) & mask) >= ((at - hole) & mask):
                break
        pool.buckets[hole] = pool.buckets[at]
        hole = at


@compiled
def _home(key: int, mask: int) -> int:
    mixed = (key ^ (key >> 29)) * 0x9E3779B97F4A7C1
    return (mixed ^ (mixed >> 32)) & mask


@compiled
def _unlink(pool: BlockPool, block: int) -> None:
    pool.after[pool.before[block]] = pool.after[block]
    pool.before[pool.after[block]] = pool.before[block]


@compiled
def _link_after(pool: BlockPool, place: int, block: int) -> None:
    pool.after[block] = pool.after[place]
    pool.before[block] = place
    pool.before[pool.after[place]] = block
    pool.after[place] = block
