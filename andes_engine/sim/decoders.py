"""Requests that only decode, accounted for late: nothing of them is written at an iteration, all of it when somebody asks.

The first `COUNT` of the running list have their prompts computed and take one token per iteration until their last. What an
iteration needs of them is a handful of sums: how many they are, their context, how many of them take a block, when the next one
ends. So it costs what is new in it, however many run. A request is brought up to date when it ends or when all are (`settle`):
the same additions in the same order as token by token, so the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating, compiled_into_caller
from andes_engine.request import context_tokens, deliver
from andes_engine.schedulers import VTC
from andes_engine.schedulers.vtc import charge
from andes_engine.sim import state as st
from andes_engine.sim.kv_cache import grow, needed_blocks
from andes_engine.sim.lifecycle import finish
from andes_engine.sim.state import Engines

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COUNT, ITERATION, CONTEXT, PHASE, NEXT_LAST = range(5)
"""Fields of `Decoders.head`: how many; iterations since they were last settled; tokens they attend to in the next iteration; that
iteration modulo the block size; the iteration of the next last token."""

_NEVER = np.int64(2**62)

_LARGEST_BLOCK = 1024
"""Tokens of the largest KV block for which decoders are accounted for late."""

_CLEARLY = 1.0 - 1e-9
"""A factor beyond rounding: a pace this much faster than the reader's cannot make the next token later than the last."""


class Decoders(NamedTuple):
    """See the module. Iterations are counted from the last time all were settled.

    Attributes:
        head: See the constants above.
        times_s: When each iteration ended. Its length is the most iterations between two settlements.
        slowest_s: Longest of these iterations. Shape (1,).
        first: Iteration up to which each request is accounted for, by place in the running list. Shape (max_num_seqs,).
        last: Iteration of its last token, likewise.
        phases: How many of them take a block in an iteration, by the iteration modulo the block size.
    """

    head: IntArray
    times_s: FloatArray
    slowest_s: FloatArray
    first: IntArray
    last: IntArray
    phases: IntArray


@compiled_allocating
def no_decoders(max_num_seqs: int, iterations: int) -> Decoders:
    """Nobody yet; with 0 `iterations` it stays so, and every request is accounted for at every iteration."""
    return Decoders(
        np.zeros(5, dtype=np.int64),
        np.zeros(iterations),
        np.zeros(1),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(_LARGEST_BLOCK, dtype=np.int64),
    )


@compiled_into_caller
def may_be_late(engine: Engines, decoders: Decoders) -> bool:
    """Whether this engine's decoders can be accounted for late at all, and all its running requests can decode at once."""
    limits = engine.limits
    few = engine.registers[st.R_RUNNING] <= limits[st.L_MAX_TOKENS]
    return few and len(decoders.times_s) > 0 and limits[st.L_BLOCK_SIZE] <= len(decoders.phases)


@compiled_into_caller
def can_decode(engine: Engines, decoders: Decoders) -> bool:
    """Whether the next iteration has a token, a block and a place in the records for each of them."""
    head = decoders.head
    in_budget = head[COUNT] <= engine.limits[st.L_MAX_TOKENS]
    in_memory = decoders.phases[head[PHASE]] <= engine.registers[st.R_FREE_BLOCKS]
    return head[ITERATION] < len(decoders.times_s) and in_budget and in_memory


@compiled_into_caller
def take_on(engine: Engines, decoders: Decoders) -> None:
    """Add those next in the running list that only decode from here on."""
    table, size, head = engine.table, engine.limits[st.L_BLOCK_SIZE], decoders.head
    place = head[COUNT]
    if place == 0:
        head[NEXT_LAST] = _NEVER
    while place < engine.registers[st.R_RUNNING]:
        row = engine.running[place]
        emitted, context = table.emitted_tokens[row], context_tokens(table, row)
        if context - table.computed_tokens[row] != 1 or emitted == 0 or table.paused[row] != 0:
            break  # a last prompt token is no decode
        decoders.first[place] = head[ITERATION]
        decoders.last[place] = head[ITERATION] + engine.output_tokens[row] - emitted - 1
        decoders.phases[_phase(engine, decoders, row, size)] += 1
        head[NEXT_LAST] = min(head[NEXT_LAST], decoders.last[place])
        head[CONTEXT] += context
        place += 1
    head[COUNT] = place


@compiled
def _phase(engine: Engines, decoders: Decoders, row: int, size: int) -> int:
    """Iteration, modulo the block size, at which a request that is up to date takes blocks."""
    spare = engine.table.held_blocks[row] * size - engine.table.computed_tokens[row]
    return (decoders.head[PHASE] + spare) % size


@compiled_into_caller
def pass_iteration(engine: Engines, decoders: Decoders, duration_s: float) -> None:
    """An iteration that gave each of them a token is over."""
    head = decoders.head
    decoders.times_s[head[ITERATION]] = engine.now_s[0]
    decoders.slowest_s[0] = max(decoders.slowest_s[0], duration_s)
    head[ITERATION] += 1
    head[CONTEXT] += head[COUNT]
    head[PHASE] = head[PHASE] + 1 if head[PHASE] + 1 < engine.limits[st.L_BLOCK_SIZE] else 0


@compiled
def part(engine: Engines, decoders: Decoders) -> int:
    """Who has had the last token leaves, the others close ranks; returns how many are left."""
    head, running, kept = decoders.head, engine.running, 0
    if head[NEXT_LAST] >= head[ITERATION]:
        return head[COUNT]
    head[NEXT_LAST] = _NEVER
    if engine.limits[st.L_PREFIX_CACHING] != 0:  # blocks given back are not there to be taken in these iterations
        for place in range(head[COUNT]):
            _account(engine, decoders, place)
    for place in range(head[COUNT]):
        row = running[place]
        if decoders.last[place] < head[ITERATION]:
            _account(engine, decoders, place)
            decoders.phases[_phase(engine, decoders, row, engine.limits[st.L_BLOCK_SIZE])] -= 1
            head[CONTEXT] -= context_tokens(engine.table, row)
            finish(engine, row, engine.now_s[0])
            continue
        head[NEXT_LAST] = min(head[NEXT_LAST], decoders.last[place])
        running[kept], decoders.first[kept], decoders.last[kept] = row, decoders.first[place], decoders.last[place]
        kept += 1
    head[COUNT] = kept
    return kept


@compiled
def settle(engine: Engines, decoders: Decoders) -> None:
    """Bring all of them up to date, and begin anew with nobody."""
    if decoders.head[ITERATION] > 0:
        for place in range(decoders.head[COUNT]):
            _account(engine, decoders, place)
    if decoders.head[COUNT] > 0:
        decoders.phases[: engine.limits[st.L_BLOCK_SIZE]] = 0
    decoders.slowest_s[0] = 0.0
    decoders.head[:] = 0


@compiled
def _account(engine: Engines, decoders: Decoders, place: int) -> None:
    """Bring one of them up to date: its blocks, the tokens it has had and when."""
    table, times_s, row, first = engine.table, decoders.times_s, engine.running[place], decoders.first[place]
    until = decoders.head[ITERATION]
    count = until - first
    if count == 0:
        return
    decoders.first[place] = until
    engine.registers[st.R_FREE_BLOCKS] += needed_blocks(
        engine, row, count
    )  # iteration by iteration they were taken already
    grow(engine, row, count)
    if engine.token_s.shape[0] > 0:
        start = engine.token_offset[row] + table.emitted_tokens[row]
        for index in range(count):
            engine.token_s[start + index] = times_s[first + index]
    if engine.limits[st.L_SCHEDULER] == VTC:
        charge(engine.memory.user_service, table.user[row], 0, count)
    table.computed_tokens[row] += count
    deliver(table, row, times_s[first])
    if decoders.slowest_s[0] < _CLEARLY * table.latency_s[row]:
        table.level_tokens[row] += count - 1
        table.emitted_tokens[row] += count - 1
        table.last_token_s[row] = times_s[until - 1]
    else:
        for index in range(first + 1, until):
            deliver(table, row, times_s[index])
