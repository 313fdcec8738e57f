"""Skip over uneventful iterations: several at once while every running request decodes and nothing else can happen.

Exact: the same additions in the same order as one `step` after the other, so the same times, tokens, blocks and lags to the bit
(`tests/engine/test_fast_forward.py`). Nothing happens before the first of: a request's last token, a block that is not free, an
arrival, a reader who leaves, the next plan, a plan that would gate, the time asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine import knobs as kn
from andes_engine.batch_choice import Survey
from andes_engine.compile_cache import compiled_into_caller
from andes_engine.decision import contended
from andes_engine.decision_buffers import blocks_for
from andes_engine.plan_memory import GATE_SHUT, NEXT_ABORT_S, NEXT_PLAN_S
from andes_engine.request import context_tokens, deliver
from andes_engine.schedulers import AUTHORS_CODE, SARATHI, VTC
from andes_engine.schedulers.vtc import charge
from andes_engine.sim import state as st
from andes_engine.sim.kv_cache import grow
from andes_engine.sim.lifecycle import finish
from andes_engine.sim.state import Engines, view_of
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CLEARLY = 1.0 - 1e-9
"""A factor beyond rounding: a pace this much faster than the reader's cannot make the next token later than the last."""


@compiled_into_caller
def fast_forward(engine: Engines, until_s: float, times_s: FloatArray, phases: IntArray) -> int:
    """Run as many uneventful iterations as there are. Returns how many; 0 if the next one needs a full `step`.

    Args:
        engine: One engine with something live.
        until_s: Start no iteration at or after this time.
        times_s: Scratch: receives when each iteration ended. Its length is the most iterations run at once.
        phases: Scratch. Its length is the largest block size that can be skipped over.
    """
    registers = engine.registers
    running = registers[st.R_RUNNING]
    if len(times_s) == 0 or running == 0 or registers[st.R_COPIED] > 0 or running > engine.limits[st.L_MAX_TOKENS]:
        return 0
    if engine.limits[st.L_SCHEDULER] == AUTHORS_CODE:  # counts iterations
        return 0
    gates, planned = engine.limits[st.L_SCHEDULER] > SARATHI, False
    if gates and engine.now_s[0] >= engine.memory.rhythm[NEXT_PLAN_S]:
        if registers[st.R_WAITING] > 0 or engine.knobs[kn.PLANNING_PERIOD_S] > 0.0:
            return 0
        planned = True
    shut = gates and not planned and engine.memory.rhythm[GATE_SHUT] != 0.0
    if registers[st.R_WAITING] > 0 and not shut and _may_admit(engine):
        return 0
    most, context = _quiet_iterations(engine, len(times_s), planned, phases)
    if most == 0:
        return 0
    stop_s = min(until_s, engine.memory.rhythm[NEXT_ABORT_S])
    if registers[st.R_NEXT_ARRIVAL] < registers[st.R_LIMIT]:
        stop_s = min(stop_s, engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]])
    if gates and not planned:
        stop_s = min(stop_s, engine.memory.rhythm[NEXT_PLAN_S])
    count, slowest_s = _let_time_pass(engine, running, context, most, stop_s, planned, times_s)
    _take_in(engine, count, slowest_s, times_s)
    engine.counters[ct.STEPS] += count
    engine.counters[ct.DECODE_TOKENS] += count * running
    return count


@compiled_into_caller
def _may_admit(engine: Engines) -> bool:
    """Whether the head of the queue would be admitted; if not now, then not while others only decode and take blocks."""
    if engine.registers[st.R_RUNNING] >= engine.limits[st.L_MAX_SEQS]:
        return False
    if engine.limits[st.L_PREFIX_CACHING] != 0:
        return True
    need = blocks_for(context_tokens(engine.table, engine.waiting[0]), engine.limits[st.L_BLOCK_SIZE])
    reserve = 0
    if engine.limits[st.L_SCHEDULER] <= SARATHI:
        reserve = int(engine.knobs[kn.KV_RESERVE] * engine.limits[st.L_KV_BLOCKS])
    return need + reserve <= engine.registers[st.R_FREE_BLOCKS]


@compiled_into_caller
def _quiet_iterations(engine: Engines, limit: int, planned: bool, phases: IntArray) -> tuple[int, int]:
    """Iterations until a last token or a missing block, and until a plan would gate; and the context of the first (tokens)."""
    table, size, running = engine.table, engine.limits[st.L_BLOCK_SIZE], engine.registers[st.R_RUNNING]
    if size > len(phases):
        return 0, 0
    phases[:size] = 0
    most, context, wanted, strictest_s = limit, 0, 0, np.inf
    for place in range(running):
        row = engine.running[place]
        emitted, computed = table.emitted_tokens[row], table.computed_tokens[row]
        length = table.prompt_tokens[row] + emitted
        if length - computed != 1 or emitted == 0 or table.paused[row] != 0:  # a last prompt token is no decode
            return 0, 0
        most = min(most, engine.output_tokens[row] - emitted)
        phases[table.held_blocks[row] * size - computed] += 1
        context += length
        if planned:
            wanted += table.held_blocks[row] + (1 if length <= table.held_blocks[row] * size else 2)
            strictest_s = min(strictest_s, table.latency_s[row])
    free = engine.registers[st.R_FREE_BLOCKS]
    for step in range(most):
        free -= phases[step % size]
        if free < 0:
            most = step
            break
    if planned and most > 0:
        most = _until_contended(engine, most, wanted, context, strictest_s)
    return most, context


@compiled_into_caller
def _until_contended(engine: Engines, most: int, wanted: int, context: int, strictest_s: float) -> int:
    """Iterations for which planning would surely leave everything as it is: no more than `most`."""
    running, size, view = engine.registers[st.R_RUNNING], engine.limits[st.L_BLOCK_SIZE], view_of(engine)
    spare = engine.knobs[kn.KV_WATERMARK] * view.kv_blocks - wanted
    most = min(most, max(int(spare / running), 0) * size)
    if most == 0:
        return 0
    last = Survey(running, running, 0, context + running * (most - 1), strictest_s)
    return 0 if contended(last, view, engine.knobs, engine.step_time) else most


@compiled_into_caller
def _let_time_pass(
    engine: Engines, running: int, context: int, most: int, stop_s: float, planned: bool, times_s: FloatArray
) -> tuple[int, float]:
    """Time of each iteration until `stop_s`; returns how many began before it and the longest (s)."""
    now_s, slowest_s, count = engine.now_s[0], 0.0, 0
    while count < most and now_s < stop_s:
        if planned:
            engine.memory.rhythm[NEXT_PLAN_S] = now_s
        duration_s = step_seconds(engine.step_time, 0, running, context + running * count, 0, 0)
        now_s += duration_s
        slowest_s = max(slowest_s, duration_s)
        times_s[count] = now_s
        count += 1
    if planned:
        engine.memory.rhythm[GATE_SHUT] = 0.0
    engine.now_s[0] = now_s
    return count, slowest_s


@compiled_into_caller
def _take_in(engine: Engines, count: int, slowest_s: float, times_s: FloatArray) -> None:
    """Give every running request its `count` tokens; who has had the last one leaves."""
    table, registers = engine.table, engine.registers
    caching, logged = engine.limits[st.L_PREFIX_CACHING] != 0, engine.token_s.shape[0] > 0
    size, fair = engine.limits[st.L_BLOCK_SIZE], engine.limits[st.L_SCHEDULER] == VTC
    taken, kept = 0, 0
    if caching:  # all of them before anybody leaves: blocks given back are not there to be taken in these iterations
        for place in range(registers[st.R_RUNNING]):
            grow(engine, engine.running[place], count)
    for place in range(registers[st.R_RUNNING]):
        row = engine.running[place]
        computed = table.computed_tokens[row] + count
        if not caching:
            held = table.held_blocks[row]
            while held * size < computed:
                held += 1
                taken += 1
            table.held_blocks[row] = held
        if logged:
            start = engine.token_offset[row] + table.emitted_tokens[row]
            for index in range(count):
                engine.token_s[start + index] = times_s[index]
        if fair:
            charge(engine.memory.user_service, table.user[row], 0, count)
        table.computed_tokens[row] = computed
        deliver(table, row, times_s[0])
        if slowest_s < _CLEARLY * table.latency_s[row]:
            table.level_tokens[row] += count - 1
            table.emitted_tokens[row] += count - 1
            table.last_token_s[row] = times_s[count - 1]
        else:
            for index in range(1, count):
                deliver(table, row, times_s[index])
        if table.emitted_tokens[row] < engine.output_tokens[row]:
            engine.running[kept] = row
            kept += 1
        else:
            registers[st.R_FREE_BLOCKS] -= taken
            taken = 0
            finish(engine, row, engine.now_s[0])
    registers[st.R_FREE_BLOCKS] -= taken
    registers[st.R_RUNNING] = kept
