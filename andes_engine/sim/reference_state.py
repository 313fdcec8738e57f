"""State across the two engines: into the reference engine from the compiled one's arrays, and what differs between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from andes_engine.plan_memory import GATE_SHUT, ITERATION, NEXT_PLAN_S
from andes_engine.sim import state as st
from andes_engine.sim.reference_pool import Block, Content, ReferencePool
from andes_engine.sim.state import Engines

if TYPE_CHECKING:
    from andes_engine.sim.reference import ReferenceEngine

_OWN_PLACES = 1 << 24
"""Places of a sequence in the compiled pool's numbering of own content (`kv_cache.block_key`)."""

_COLUMNS = (
    *("emitted_tokens", "computed_tokens", "held_blocks", "paused", "preemptions", "host_tokens", "lost_tokens"),
    *("level_tokens", "lateness_s", "lag_base_s", "first_token_s", "last_token_s", "admitted_s"),
)
"""Fields that must be equal. The others are inputs, or scratch of a decision that both engines ask the same way."""

_RHYTHM = (NEXT_PLAN_S, GATE_SHUT, ITERATION)


def load_state(engine: ReferenceEngine, source: Engines) -> None:
    """Make the reference engine what the compiled one is now; both have the same workload and limits."""
    n, registers = len(engine.table), source.registers.tolist()
    engine.table[:] = source.table[:n]
    engine.running = source.running[: registers[st.R_RUNNING]].tolist()
    engine.waiting = deque(source.waiting[: registers[st.R_WAITING]].tolist())
    engine.now_s, engine.next_arrival = float(source.now_s[0]), registers[st.R_NEXT_ARRIVAL]
    engine.counters, engine.knobs = source.counters.tolist(), source.knobs.copy()
    engine.finish_s[:] = source.finish_s[:n]
    for mine, theirs in zip(engine.memory, source.memory, strict=True):
        mine[:] = theirs[: len(mine)]
    engine.kv.host_free, engine.kv.copied_blocks = registers[st.R_HOST_FREE], registers[st.R_COPIED]
    engine.kv.pool, engine.kv.blocks = pool_in(source, engine.running)
    if source.token_s.shape[0] > 0:
        engine.token_s = [_token_times(source, row) for row in range(n)]


def pool_in(source: Engines, rows: list[int]) -> tuple[ReferencePool, dict[int, list[Block]]]:
    """The pool a compiled engine has, and the blocks of each running request.

    Without prefix caching the compiled engine only counts blocks, and any will do.
    """
    held = {row: int(source.table["held_blocks"][row]) for row in rows}
    if source.limits[st.L_PREFIX_CACHING] == 0:
        free = ReferencePool(int(source.registers[st.R_FREE_BLOCKS]))
        return free, {row: [Block(users=1) for _ in range(count)] for row, count in held.items()}
    users, after, keys = source.pool.users.tolist(), source.pool.after.tolist(), source.pool.key.tolist()
    blocks = {number: Block(users[number]) for number in range(1, int(source.limits[st.L_KV_BLOCKS]) + 1)}
    pool, number = ReferencePool(0), after[0]
    while number != 0:
        pool.free[blocks[number]] = None
        number = after[number]
    for number in _in_order_of_search(source):
        pool.make_findable(blocks[number], content_of(keys[number], int(source.hash_tokens[0])))
    slots = {row: int(source.table["slot"][row]) for row in rows}
    return pool, {
        row: [blocks[number] for number in source.pool.held[slots[row], : held[row]].tolist()] for row in rows
    }


def _in_order_of_search(source: Engines) -> list[int]:
    """Findable blocks; of several with one key, first the one that the compiled search comes to first.

    The hash table is probed linearly, so what is behind an empty bucket is met in this order.
    """
    buckets = source.pool.buckets.tolist()
    start = buckets.index(0)
    return [number for number in buckets[start:] + buckets[:start] if number != 0]


def content_of(key: int, hash_tokens: int) -> Content:
    """What a key of the compiled pool stands for."""
    if key < 0:
        return ("own", *divmod(-(key + 1), _OWN_PLACES))
    return ("prompt", *divmod(key, hash_tokens))


def differences(engine: ReferenceEngine, source: Engines) -> list[str]:
    """What the compiled engine has that the reference has not, one line each, with both values; empty if they agree."""
    return [
        f"{name}: compiled {theirs}, reference {mine}" for name, theirs, mine in _both(engine, source) if theirs != mine
    ]


def _both(engine: ReferenceEngine, source: Engines) -> Iterator[tuple[str, Any, Any]]:
    n, registers = len(engine.table), source.registers.tolist()
    yield "running", source.running[: registers[st.R_RUNNING]].tolist(), engine.running
    yield "waiting", source.waiting[: registers[st.R_WAITING]].tolist(), list(engine.waiting)
    yield "now_s", float(source.now_s[0]), engine.now_s
    yield "arrived", registers[st.R_NEXT_ARRIVAL], engine.next_arrival
    yield "free blocks", registers[st.R_FREE_BLOCKS], len(engine.kv.pool.free)
    yield "free blocks of host memory", registers[st.R_HOST_FREE], engine.kv.host_free
    yield "blocks being copied", registers[st.R_COPIED], engine.kv.copied_blocks
    yield "counters", source.counters.tolist(), engine.counters
    for name in _COLUMNS:
        yield from _cells(name, source.table[name][:n], engine.table[name])
    yield from _cells("finish_s", source.finish_s[:n], engine.finish_s)
    yield "rhythm", source.memory.rhythm[[*_RHYTHM]].tolist(), engine.memory.rhythm[[*_RHYTHM]].tolist()
    yield from _cells("user_service", source.memory.user_service, engine.memory.user_service)
    yield from _cells("hazard", source.memory.hazard, engine.memory.hazard)
    if source.token_s.shape[0] > 0:
        for row in range(n):
            yield f"token_s[{row}]", _token_times(source, row), engine.token_s[row]
    if source.limits[st.L_PREFIX_CACHING] != 0:
        yield from _pools(engine, source)


def _cells(name: str, theirs: np.ndarray, mine: np.ndarray) -> Iterator[tuple[str, Any, Any]]:
    """Only the entries that differ; two that are not a number do not."""
    theirs = theirs[: len(mine)]
    for place in np.flatnonzero((theirs != mine) & ~((theirs != theirs) & (mine != mine))):
        yield f"{name}[{place}]", theirs[place].item(), mine[place].item()


def _pools(engine: ReferenceEngine, source: Engines) -> Iterator[tuple[str, Any, Any]]:
    """Which block holds what is not compared: only contents and their order matter to later allocations."""
    pool, blocks = pool_in(source, source.running[: source.registers[st.R_RUNNING]].tolist())
    yield from zip(("free list", "findable"), pool.contents(), engine.kv.pool.contents(), strict=True)
    for row, held in blocks.items():
        held_here = engine.kv.blocks.get(row, [])
        yield f"blocks of {row}", [(it.content, it.users) for it in held], [(it.content, it.users) for it in held_here]


def _token_times(source: Engines, row: int) -> list[float]:
    start = source.token_offset[row]
    return source.token_s[start : start + source.table["emitted_tokens"][row]].tolist()
