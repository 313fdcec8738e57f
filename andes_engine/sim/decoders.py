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
    table, head, size = engine.table, decoders.head, engine.limits[st.L_BLOCK_SIZE]
    place, now, next_last, context = head[COUNT], head[ITERATION], head[NEXT_LAST], head[CONTEXT]
    if place == 0:
        next_last = _NEVER
    while place < engine.registers[st.R_RUNNING]:
        row = engine.running[place]
        emitted, computed = table.emitted_tokens[row], table.computed_tokens[row]
        length = table.prompt_tokens[row] + emitted
        if length - computed != 1 or emitted == 0 or table.paused[row] != 0:
            break  # a last prompt token is no decode
        last = now + engine.output_tokens[row] - emitted - 1
        decoders.first[place], decoders.last[place] = now, last
        decoders.phases[_phase(head[PHASE], table.held_blocks[row] * size - computed, size)] += 1
        next_last = min(next_last, last)
        context += length
        place += 1
    head[COUNT], head[NEXT_LAST], head[CONTEXT] = place, next_last, context


@compiled
def _phase(now: int, spare_tokens: int, size: int) -> int:
    """Iteration, modulo the block size, in which a request takes a block that has room for so many tokens now."""
    phase = now + spare_tokens
    while phase >= size:
        phase -= size
    return phase


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
    table, head, running, kept, next_last = engine.table, decoders.head, engine.running, 0, _NEVER
    size = engine.limits[st.L_BLOCK_SIZE]
    if head[NEXT_LAST] >= head[ITERATION]:
        return head[COUNT]
    if engine.limits[st.L_PREFIX_CACHING] != 0:  # blocks given back are not there to be taken in these iterations
        _account_all(engine, decoders)
    for place in range(head[COUNT]):
        row, last = running[place], decoders.last[place]
        if last < head[ITERATION]:
            _account(engine, decoders, place)
            spare = table.held_blocks[row] * size - table.computed_tokens[row]
            decoders.phases[_phase(head[PHASE], spare, size)] -= 1
            head[CONTEXT] -= context_tokens(table, row)
            finish(engine, row, engine.now_s[0])
            continue
        next_last = min(next_last, last)
        running[kept], decoders.first[kept], decoders.last[kept] = row, decoders.first[place], last
        kept += 1
    head[COUNT], head[NEXT_LAST] = kept, next_last
    return kept


@compiled_into_caller
def settle(engine: Engines, decoders: Decoders) -> None:
    """Bring all of them up to date, and begin anew with nobody."""
    if decoders.head[COUNT] > 0:
        _account_all(engine, decoders)
        decoders.phases[: engine.limits[st.L_BLOCK_SIZE]] = 0
    decoders.slowest_s[0] = 0.0
    decoders.head[:] = 0


@compiled
def _account_all(engine: Engines, decoders: Decoders) -> None:
    for place in range(decoders.head[COUNT]):
        _account(engine, decoders, place)


@compiled_into_caller
def _account(engine: Engines, decoders: Decoders, place: int) -> None:
    """Bring one of them up to date: its blocks, the tokens it has had and when."""
    table, times_s, row, first = engine.table, decoders.times_s, engine.running[place], decoders.first[place]
    count = decoders.head[ITERATION] - first
    if count > 0:
        decoders.first[place] = first + count
        engine.registers[st.R_FREE_BLOCKS] += needed_blocks(engine, row, count)  # taken iteration by iteration already
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
            table.last_token_s[row] = times_s[first + count - 1]
        else:
            for index in range(first + 1, first + count):
                deliver(table, row, times_s[index])
