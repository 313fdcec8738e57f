"""Who gets tokens and blocks in an iteration, as vLLM V1 gives them out (0.32.0, `v1/core/sched/scheduler.py`, `schedule()`).

One token budget is shared by decode and chunked prefill; running requests come before waiting ones; KV is given out in blocks; a
running request that finds no block preempts the last of the running list; after such an emergency nothing is admitted in that
iteration; a preempted request goes to the head of the queue; a request is admitted only if its whole sequence would fit
(`scheduler_reserve_full_isl`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import GATED, N_ADMIT, RESERVE_BLOCKS, Decision
from andes_engine.ranking import ONE
from andes_engine.request import context_tokens
from andes_engine.sim import decoders as dc
from andes_engine.sim import state as st
from andes_engine.sim.decoders import Decoders
from andes_engine.sim.kv_cache import grow, needed_blocks, start
from andes_engine.sim.lifecycle import preempt
from andes_engine.sim.load import CONTEXT, DECODES, note_load
from andes_engine.sim.state import Engines

IntArray = NDArray[np.int64]


@compiled
def take_out(queue: IntArray, registers: IntArray, register: int, row: int) -> None:
    """Take a request off a queue, whose length is in a register."""
    count = registers[register]
    for index in range(count):
        if queue[index] == row:
            for place in range(index, count - 1):
                queue[place] = queue[place + 1]
            registers[register] = count - 1
            return


@compiled_into_caller
def schedule_decoders(engine: Engines, decoders: Decoders, load: IntArray) -> int:
    """Begin the iteration's load with one token for each decoder, and take their blocks. Returns the tokens."""
    head = decoders.head
    load[:] = 0
    load[DECODES], load[CONTEXT] = head[dc.COUNT], head[dc.CONTEXT]
    engine.registers[st.R_FREE_BLOCKS] -= decoders.phases[head[dc.PHASE]]
    return head[dc.COUNT]


@compiled_into_caller
def schedule_running(engine: Engines, first: int, budget: int, scheduled: IntArray, load: IntArray) -> tuple[int, bool]:
    """Give running requests from a place on their tokens, in list order. Returns the budget left and whether memory ran out."""
    table, registers, running = engine.table, engine.registers, engine.running
    size, emergency = engine.limits[st.L_BLOCK_SIZE], False
    scheduled[first : registers[st.R_RUNNING]] = 0
    index = _schedule_decodes(engine, first, budget, scheduled, load)
    budget -= index - first
    while index < registers[st.R_RUNNING] and budget > 0:
        row = running[index]
        if table.paused[row] != 0:
            index += 1
            continue
        computed = table.computed_tokens[row]
        tokens = context_tokens(table, row) - computed
        if tokens != 1 or computed + 1 >= table.held_blocks[row] * size:  # else: a decode within its last block
            tokens = min(tokens, budget)
            need = needed_blocks(engine, row, tokens)
            while need > registers[st.R_FREE_BLOCKS]:
                registers[st.R_RUNNING] -= 1
                victim = running[registers[st.R_RUNNING]]
                preempt(engine, victim)
                emergency = True
                if victim == row:
                    return budget, emergency
            grow(engine, row, tokens)
        scheduled[index] = tokens
        note_load(load, tokens, computed, table.emitted_tokens[row])
        budget -= tokens
        index += 1
    return budget, emergency


@compiled
def _schedule_decodes(engine: Engines, first: int, budget: int, scheduled: IntArray, load: IntArray) -> np.int64:
    """Give running requests from a place on a token each, as long as that is all they need and there is a block for it.

    Returns:
        The place of the first that needs something else, or nothing.
    """
    table, registers, rows = engine.table, engine.registers, engine.running.view(np.uint64)
    place, end = np.uint64(first), np.uint64(min(registers[st.R_RUNNING], first + budget))
    size, free, context = engine.limits[st.L_BLOCK_SIZE], registers[st.R_FREE_BLOCKS], 0
    if engine.limits[st.L_PREFIX_CACHING] != 0:  # blocks have names
        return np.int64(first)
    while place < end:
        row = rows[place]
        computed, emitted, held = table.computed_tokens[row], table.emitted_tokens[row], table.held_blocks[row]
        takes = np.int64(computed + 1 > held * size)
        decodes = (context_tokens(table, row) - computed == 1) & (emitted > 0) & (computed > 0)
        if not (decodes & (table.paused[row] == 0) & (takes <= free)):
            break
        table.held_blocks[row] = held + takes
        scheduled[place] = 1
        free -= takes
        context += computed + 1
        place += ONE
    registers[st.R_FREE_BLOCKS] = free
    load[DECODES] += np.int64(place) - first
    load[CONTEXT] += context
    return np.int64(place)


@compiled_into_caller
def schedule_waiting(engine: Engines, plan: Decision, budget: int, scheduled: IntArray, load: IntArray) -> None:
    """Admit requests from the plan, or in queue order, until the first that does not fit."""
    registers = engine.registers
    gated = plan.head[GATED] != 0
    offered = plan.head[N_ADMIT] if gated else registers[st.R_WAITING]
    taken = 0
    while taken < offered and budget > 0 and registers[st.R_RUNNING] < engine.limits[st.L_MAX_SEQS]:
        row = plan.admit[taken] if gated else engine.waiting[taken]
        # vLLM keeps its watermark only while something runs (kv_cache_manager.py, allocate_slots)
        reserve = plan.head[RESERVE_BLOCKS] if registers[st.R_RUNNING] > 0 else 0
        tokens = start(engine, row, budget, reserve)
        if tokens == 0:
            break
        engine.table.admitted_s[row] = engine.now_s[0]
        engine.running[registers[st.R_RUNNING]] = row
        scheduled[registers[st.R_RUNNING]] = tokens
        note_load(load, tokens, engine.table.computed_tokens[row], engine.table.emitted_tokens[row])
        registers[st.R_RUNNING] += 1
        budget -= tokens
        taken += 1
    _drop_admitted(engine, plan, taken)


@compiled_into_caller
def _drop_admitted(engine: Engines, plan: Decision, taken: int) -> None:
    """Take the admitted requests off the queue."""
    registers = engine.registers
    if plan.head[GATED]:
        for index in range(taken):
            take_out(engine.waiting, registers, st.R_WAITING, plan.admit[index])
        return
    count = registers[st.R_WAITING]
    if taken > 0:
        for place in range(count - taken):
            engine.waiting[place] = engine.waiting[place + taken]
    registers[st.R_WAITING] = count - taken
