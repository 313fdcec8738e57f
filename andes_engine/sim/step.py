"""One iteration of a vLLM V1 engine (semantics of vLLM 0.32.0, `v1/core/sched/scheduler.py`, `schedule()`).

One token budget is shared by decode and chunked prefill; running requests come before waiting ones; KV is given out in blocks; a
running request that finds no block preempts the last of the running list, by recompute; after such an emergency nothing is
admitted in that iteration; a preempted request goes to the head of the queue; a request is admitted only if its whole sequence
would fit (`scheduler_reserve_full_isl`). Prefix caching is not modelled here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled
from andes_engine.decision import decide
from andes_engine.decision_buffers import (
    GATED,
    N_ADMIT,
    N_ORDER,
    N_PREEMPT,
    PLANNED,
    RESERVE_BLOCKS,
    TOKEN_BUDGET,
    Decision,
    blocks_for,
    empty_decision,
)
from andes_engine.request import context_tokens, deliver
from andes_engine.sim import state as st
from andes_engine.sim.state import Engines, one, view_of
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def advance_all(engines: Engines, until_s: FloatArray) -> None:
    """Run every engine until its time in `until_s`, or until it has drained. Shape (engines,)."""
    plan = empty_decision(engines.running.shape[1], engines.waiting.shape[1])
    scheduled = np.zeros(engines.running.shape[1], dtype=np.int64)
    for index in range(engines.now_s.shape[0]):
        advance(one(engines, index), until_s[index], plan, scheduled)


@compiled
def advance(engine: Engines, until_s: float, plan: Decision, scheduled: IntArray) -> None:
    """Run one engine: iterations back to back while it has requests, idle otherwise."""
    registers = engine.registers
    while engine.now_s[0] < until_s:
        _arrive(engine)
        if registers[st.R_RUNNING] + registers[st.R_WAITING] == 0:
            if registers[st.R_NEXT_ARRIVAL] == registers[st.R_LIMIT]:
                return
            engine.now_s[0] = min(until_s, engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]])
            continue
        step(engine, plan, scheduled)


@compiled
def step(engine: Engines, plan: Decision, scheduled: IntArray) -> None:
    """One iteration: decide, apply, schedule, let its time pass, deliver its tokens."""
    decide(
        engine.table,
        engine.running[: engine.registers[st.R_RUNNING]],
        engine.waiting[: engine.registers[st.R_WAITING]],
        view_of(engine),
        engine.limits[st.L_SCHEDULER],
        engine.knobs,
        engine.step_time,
        engine.rhythm,
        plan,
    )
    engine.counters[ct.DECISIONS] += plan.head[PLANNED]
    _apply(engine, plan)
    budget, emergency = _schedule_running(engine, plan.head[TOKEN_BUDGET], scheduled)
    if not emergency:
        _schedule_waiting(engine, plan, budget, scheduled)
    _execute(engine, scheduled)


@compiled
def _arrive(engine: Engines) -> None:
    registers = engine.registers
    while (
        registers[st.R_NEXT_ARRIVAL] < registers[st.R_LIMIT]
        and engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]] <= engine.now_s[0]
    ):
        engine.waiting[registers[st.R_WAITING]] = registers[st.R_NEXT_ARRIVAL]
        registers[st.R_WAITING] += 1
        registers[st.R_NEXT_ARRIVAL] += 1
        engine.counters[ct.ARRIVED] += 1


@compiled
def _apply(engine: Engines, plan: Decision) -> None:
    """Preempt and reorder as planned."""
    head = plan.head
    for index in range(head[N_PREEMPT]):
        _remove(engine.running, engine.registers, st.R_RUNNING, plan.preempt[index])
        _preempt(engine, plan.preempt[index])
    engine.counters[ct.PLANNED_PREEMPTIONS] += head[N_PREEMPT]
    if head[N_ORDER] > 0:
        engine.running[: head[N_ORDER]] = plan.order[: head[N_ORDER]]


@compiled
def _remove(queue: IntArray, registers: IntArray, register: int, row: int) -> None:
    count = registers[register]
    for index in range(count):
        if queue[index] == row:
            queue[index : count - 1] = queue[index + 1 : count].copy()
            registers[register] = count - 1
            return


@compiled
def _preempt(engine: Engines, row: int) -> None:
    """Free all blocks and put the request at the head of the queue: preemption by recompute."""
    table, registers = engine.table, engine.registers
    registers[st.R_FREE_BLOCKS] += table.held_blocks[row]
    table.held_blocks[row] = 0
    table.computed_tokens[row] = 0
    table.preemptions[row] += 1
    count = registers[st.R_WAITING]
    engine.waiting[1 : count + 1] = engine.waiting[:count].copy()
    engine.waiting[0] = row
    registers[st.R_WAITING] = count + 1
    engine.counters[ct.PREEMPTIONS] += 1


@compiled
def _schedule_running(engine: Engines, budget: int, scheduled: IntArray) -> tuple[int, bool]:
    """Give running requests their tokens in list order. Returns the budget left and whether memory ran out."""
    table, registers, running = engine.table, engine.registers, engine.running
    block_size = engine.limits[st.L_BLOCK_SIZE]
    emergency = False
    index = 0
    scheduled[:] = 0
    while index < registers[st.R_RUNNING] and budget > 0:
        row = running[index]
        tokens = min(context_tokens(table, row) - table.computed_tokens[row], budget)
        need = blocks_for(table.computed_tokens[row] + tokens, block_size) - table.held_blocks[row]
        while need > registers[st.R_FREE_BLOCKS]:
            registers[st.R_RUNNING] -= 1
            victim = running[registers[st.R_RUNNING]]
            _preempt(engine, victim)
            emergency = True
            if victim == row:
                return budget, emergency
        table.held_blocks[row] += max(need, 0)
        registers[st.R_FREE_BLOCKS] -= max(need, 0)
        scheduled[index] = tokens
        budget -= tokens
        index += 1
    return budget, emergency


@compiled
def _schedule_waiting(engine: Engines, plan: Decision, budget: int, scheduled: IntArray) -> None:
    """Admit requests from the plan, or in queue order, until the first that does not fit."""
    registers = engine.registers
    planned = plan.head[N_ADMIT]
    offered = planned if plan.head[GATED] else registers[st.R_WAITING]
    taken = 0
    while taken < offered and budget > 0 and registers[st.R_RUNNING] < engine.limits[st.L_MAX_SEQS]:
        row = plan.admit[taken] if plan.head[GATED] else engine.waiting[taken]
        # vLLM keeps its watermark only while something runs (kv_cache_manager.py, allocate_slots)
        reserve = plan.head[RESERVE_BLOCKS] if registers[st.R_RUNNING] > 0 else 0
        tokens = _admit(engine, row, budget, reserve)
        if tokens == 0:
            break
        scheduled[registers[st.R_RUNNING] - 1] = tokens
        budget -= tokens
        taken += 1
    _drop_admitted(engine, plan, taken)


@compiled
def _admit(engine: Engines, row: int, budget: int, reserve_blocks: int) -> int:
    """Start a request if its whole sequence would fit; returns the tokens scheduled, 0 if it does not fit."""
    table, registers = engine.table, engine.registers
    block_size = engine.limits[st.L_BLOCK_SIZE]
    if blocks_for(context_tokens(table, row), block_size) + reserve_blocks > registers[st.R_FREE_BLOCKS]:
        return 0
    tokens = min(context_tokens(table, row), budget)
    table.held_blocks[row] = blocks_for(tokens, block_size)
    registers[st.R_FREE_BLOCKS] -= table.held_blocks[row]
    engine.running[registers[st.R_RUNNING]] = row
    registers[st.R_RUNNING] += 1
    return tokens


@compiled
def _drop_admitted(engine: Engines, plan: Decision, taken: int) -> None:
    """Take the admitted requests off the queue."""
    registers = engine.registers
    if plan.head[GATED]:
        for index in range(taken):
            _remove(engine.waiting, registers, st.R_WAITING, plan.admit[index])
        return
    count = registers[st.R_WAITING]
    engine.waiting[: count - taken] = engine.waiting[taken:count].copy()
    registers[st.R_WAITING] = count - taken


@compiled
def _execute(engine: Engines, scheduled: IntArray) -> None:
    """Let the iteration's time pass, then deliver a token to each request whose KV is complete."""
    table, registers = engine.table, engine.registers
    running = registers[st.R_RUNNING]
    prefill, decodes, context, sum_sq = 0, 0, 0, 0
    for index in range(running):
        row, tokens = engine.running[index], scheduled[index]
        if tokens == 0:
            continue
        if tokens == 1 and table.emitted_tokens[row] > 0 and table.computed_tokens[row] > 0:
            decodes += 1
            context += table.computed_tokens[row] + 1
        else:
            prefill += tokens
            sum_sq += tokens * tokens
    engine.now_s[0] += step_seconds(engine.step_time, prefill, decodes, context, sum_sq)
    engine.counters[ct.STEPS] += 1
    engine.counters[ct.PREFILL_TOKENS] += prefill
    kept = 0
    for index in range(running):
        row = engine.running[index]
        table.computed_tokens[row] += scheduled[index]
        if scheduled[index] > 0 and table.computed_tokens[row] == context_tokens(table, row):
            _emit(engine, row)
        if table.emitted_tokens[row] < engine.output_tokens[row]:
            engine.running[kept] = row
            kept += 1
    registers[st.R_RUNNING] = kept


@compiled
def _emit(engine: Engines, row: int) -> None:
    table = engine.table
    now_s = engine.now_s[0]
    if engine.token_s.shape[0] > 0:
        engine.token_s[engine.token_offset[row] + table.emitted_tokens[row]] = now_s
    deliver(table, row, now_s)
    engine.counters[ct.DECODE_TOKENS] += 1
    if table.emitted_tokens[row] == engine.output_tokens[row]:
        engine.registers[st.R_FREE_BLOCKS] += table.held_blocks[row]
        table.held_blocks[row] = 0
        engine.finish_s[row] = now_s
        engine.counters[ct.FINISHED] += 1
