"""KV blocks of a simulated engine: what admission needs, what running takes, what leaving gives back.

Follows vLLM 0.32.0, `v1/core/kv_cache_manager.py` (`get_computed_blocks`, `allocate_slots`, `free`). Without prefix caching
blocks are interchangeable and only counted.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import blocks_for, host_pays
from andes_engine.request import context_tokens
from andes_engine.sim import state as st
from andes_engine.sim.block_pool import find, give_blocks, give_slot, make_findable, take_block, take_slot, use_again
from andes_engine.sim.state import Engines, view_of

_ROW_SHIFT = 1 << 24


@compiled
def block_key(engine: Engines, row: int, index: int) -> int:
    """What block `index` of a request holds: its own content, or that of a prompt block it shares with others.

    A hash id names a stretch of `hash_tokens` prompt tokens and everything before it, so a block inside the prompt is named by
    its stretch and its place there.
    """
    size, stretch = engine.limits[st.L_BLOCK_SIZE], engine.hash_tokens[0]
    if stretch > 0 and (index + 1) * size <= engine.table.prompt_tokens[row]:
        start, end = engine.hash_offsets[row], engine.hash_offsets[row + 1]
        place = start + index * size // stretch
        if place < end:
            return engine.hash_ids[place] * stretch + index * size % stretch
    return -(row * _ROW_SHIFT + index) - 1


@compiled
def cached_blocks(engine: Engines, row: int, known: int) -> int:
    """Blocks of a waiting request that the prefix cache holds, at least one token left to compute.

    A prefix is evicted after what follows it, so the search starts at the length `known` from last time.
    """
    most = (context_tokens(engine.table, row) - 1) // engine.limits[st.L_BLOCK_SIZE]
    count = min(known, most)
    while count > 0 and find(engine.pool, block_key(engine, row, count - 1)) == 0:
        count -= 1
    while count < most and find(engine.pool, block_key(engine, row, count)) != 0:
        count += 1
    return count


@compiled
def note_cached(engine: Engines) -> None:
    """Tell the decision what the prefix cache holds of each waiting request."""
    size = engine.limits[st.L_BLOCK_SIZE]
    for place in range(engine.registers[st.R_WAITING]):
        row = engine.waiting[place]
        engine.table.cached_tokens[row] = cached_blocks(engine, row, engine.table.cached_tokens[row] // size) * size


@compiled
def start(engine: Engines, row: int, budget_tokens: int, reserve_blocks: int) -> int:
    """Give a waiting request its first blocks if its whole sequence fits (`scheduler_reserve_full_isl`).

    Returns:
        Tokens it may compute in this iteration, 0 if it does not fit.
    """
    table, registers = engine.table, engine.registers
    size, caching = engine.limits[st.L_BLOCK_SIZE], engine.limits[st.L_PREFIX_CACHING] != 0
    context = context_tokens(table, row)
    hits, evictable = 0, 0
    if caching:
        hits = cached_blocks(engine, row, 0)
        for index in range(hits):
            if engine.pool.users[find(engine.pool, block_key(engine, row, index))] == 0:
                evictable += 1
    if blocks_for(context, size) - hits + evictable + reserve_blocks > registers[st.R_FREE_BLOCKS]:
        return 0
    table.cached_tokens[row] = hits * size
    computed = hits * size
    if host_pays(table, row, view_of(engine), engine.step_time):
        computed = min(table.host_tokens[row], context - 1)
        registers[st.R_COPIED] += blocks_for(computed - hits * size, size)
    leave_host(engine, row)
    tokens = min(context - computed, budget_tokens)
    table.computed_tokens[row] = computed
    table.held_blocks[row] = hits
    table.cached_tokens[row] = 0
    if caching:
        table.slot[row] = take_slot(engine.pool)
        for index in range(hits):
            block = find(engine.pool, block_key(engine, row, index))
            use_again(engine.pool, block)
            engine.pool.held[table.slot[row], index] = block
        registers[st.R_FREE_BLOCKS] -= evictable
    grow(engine, row, tokens)
    if caching:  # what came back from host memory is as good as computed (vLLM caches a connector's blocks alike)
        for index in range(hits, computed // size):
            make_findable(engine.pool, engine.pool.held[table.slot[row], index], block_key(engine, row, index))
    return tokens


@compiled
def needed_blocks(engine: Engines, row: int, tokens: int) -> int:
    """Blocks a running request lacks for `tokens` more."""
    size = engine.limits[st.L_BLOCK_SIZE]
    return max(blocks_for(engine.table.computed_tokens[row] + tokens, size) - engine.table.held_blocks[row], 0)


@compiled
def grow(engine: Engines, row: int, tokens: int) -> None:
    """Take the blocks for `tokens` more; full ones become findable, as in vLLM already when they are scheduled."""
    table, size = engine.table, engine.limits[st.L_BLOCK_SIZE]
    need = needed_blocks(engine, row, tokens)
    engine.registers[st.R_FREE_BLOCKS] -= need
    held = table.held_blocks[row]
    table.held_blocks[row] = held + need
    if engine.limits[st.L_PREFIX_CACHING] == 0:
        return
    slot = table.slot[row]
    for index in range(held, held + need):
        engine.pool.held[slot, index] = take_block(engine.pool)
    computed = table.computed_tokens[row]
    for index in range(computed // size, (computed + tokens) // size):
        make_findable(engine.pool, engine.pool.held[slot, index], block_key(engine, row, index))


@compiled
def release(engine: Engines, row: int) -> None:
    """Give back all blocks."""
    table = engine.table
    if engine.limits[st.L_PREFIX_CACHING] == 0:
        engine.registers[st.R_FREE_BLOCKS] += table.held_blocks[row]
    elif table.slot[row] >= 0:
        engine.registers[st.R_FREE_BLOCKS] += give_blocks(engine.pool, table.slot[row], table.held_blocks[row])
        give_slot(engine.pool, table.slot[row])
        table.slot[row] = -1
    table.held_blocks[row] = 0


@compiled
def keep_on_host(engine: Engines, row: int) -> None:
    """Copy a preempted request's full blocks to host memory, if there is room."""
    size = engine.limits[st.L_BLOCK_SIZE]
    blocks = engine.table.computed_tokens[row] // size
    if 0 < blocks <= engine.registers[st.R_HOST_FREE]:
        engine.table.host_tokens[row] = blocks * size
        engine.registers[st.R_HOST_FREE] -= blocks
        engine.registers[st.R_COPIED] += blocks


@compiled
def leave_host(engine: Engines, row: int) -> None:
    """Give back the room in host memory."""
    engine.registers[st.R_HOST_FREE] += engine.table.host_tokens[row] // engine.limits[st.L_BLOCK_SIZE]
    engine.table.host_tokens[row] = 0
