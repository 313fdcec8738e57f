"""Skip over uneventful iterations: several at once while every running request decodes and nobody is let in.

Exact: the same additions in the same order as one `step` after the other, so the same times, tokens, blocks and lags to the bit
(`tests/engine/test_fast_forward.py`). It stops at the first of: a block that is not free, an arrival, a reader who leaves, the
next plan, a plan that would gate, a last token that makes room for somebody, the time asked for.
"""

from __future__ import annotations

import numpy as np

from andes_engine import counters as ct
from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled_into_caller
from andes_engine.decision import contended
from andes_engine.decision_buffers import blocks_for
from andes_engine.plan_memory import GATE_SHUT, NEXT_ABORT_S, NEXT_PLAN_S
from andes_engine.request import context_tokens
from andes_engine.schedulers import AUTHORS_CODE, SARATHI
from andes_engine.sim import state as st
from andes_engine.sim.decoders import CONTEXT, COUNT, ITERATION, NEXT_LAST, PHASE, Decoders, may_be_late, part, take_on
from andes_engine.sim.state import Engines, view_of
from andes_engine.step_time import step_seconds
from andes_engine.survey import Survey


@compiled_into_caller
def fast_forward(engine: Engines, until_s: float, decoders: Decoders) -> int:
    """Run as many uneventful iterations as there are. Returns how many; 0 if the next one needs a `step`.

    Args:
        engine: One engine with something live.
        until_s: Start no iteration at or after this time.
        decoders: Receives those that only decode.
    """
    registers, head = engine.registers, decoders.head
    if registers[st.R_COPIED] > 0 or not may_be_late(engine, decoders):
        return 0
    if engine.limits[st.L_SCHEDULER] == AUTHORS_CODE:  # counts iterations
        return 0
    gates, planned = engine.limits[st.L_SCHEDULER] > SARATHI, False
    if gates and engine.now_s[0] >= engine.memory.rhythm[NEXT_PLAN_S]:
        if registers[st.R_WAITING] > 0 or engine.knobs[kn.PLANNING_PERIOD_S] > 0.0:
            return 0
        planned = True
    shut = gates and not planned and engine.memory.rhythm[GATE_SHUT] != 0.0
    take_on(engine, decoders)
    total = 0
    while head[COUNT] > 0 and head[COUNT] == registers[st.R_RUNNING]:
        if registers[st.R_WAITING] > 0 and not shut and _may_admit(engine):
            break
        count = _let_time_pass(engine, decoders, until_s, planned, gates)
        if count == 0:
            break
        total += count
        registers[st.R_RUNNING] = part(engine, decoders)
        if planned:
            break
    engine.counters[ct.STEPS] += total
    return total


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
def _until_contended(engine: Engines, most: int, context: int) -> int:
    """Iterations for which planning would surely leave everything as it is: no more than `most`."""
    table, running, size = engine.table, engine.registers[st.R_RUNNING], engine.limits[st.L_BLOCK_SIZE]
    wanted, strictest_s, view = 0, np.inf, view_of(engine)
    for place in range(running):
        row = engine.running[place]
        wanted += table.held_blocks[row] + (1 if context_tokens(table, row) <= table.held_blocks[row] * size else 2)
        strictest_s = min(strictest_s, table.latency_s[row])
    spare = engine.knobs[kn.KV_WATERMARK] * view.kv_blocks - wanted
    most = min(most, max(int(spare / running), 0) * size)
    if most == 0:
        return 0
    last = Survey(running, running, 0, context + running * (most - 1), strictest_s, 0, 0, 0, 0, 0.0)
    return 0 if contended(last, view, engine.knobs, engine.step_time) else most


@compiled_into_caller
def _stop_s(engine: Engines, until_s: float, planned: bool, gates: bool) -> float:
    """When the next thing may happen that is not in the iterations themselves."""
    registers, rhythm = engine.registers, engine.memory.rhythm
    stop_s = min(until_s, rhythm[NEXT_ABORT_S])
    if registers[st.R_NEXT_ARRIVAL] < registers[st.R_LIMIT]:
        stop_s = min(stop_s, engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]])
    return min(stop_s, rhythm[NEXT_PLAN_S]) if gates and not planned else stop_s


@compiled_into_caller
def _let_time_pass(engine: Engines, decoders: Decoders, until_s: float, planned: bool, gates: bool) -> int:
    """Iterations up to the next last token, or before the first that lacks a block or begins too late; returns how many."""
    head, running, now_s, free = (
        decoders.head,
        decoders.head[COUNT],
        engine.now_s[0],
        engine.registers[st.R_FREE_BLOCKS],
    )
    first, context, phase, slowest_s = head[ITERATION], head[CONTEXT], head[PHASE], decoders.slowest_s[0]
    end = min(len(decoders.times_s), head[NEXT_LAST] + 1)
    if planned:
        end = first + _until_contended(engine, end - first, context)
    at, stop_s = first, _stop_s(engine, until_s, planned, gates)
    while at < end and now_s < stop_s and decoders.phases[phase] <= free:
        free -= decoders.phases[phase]
        phase = phase + 1 if phase + 1 < engine.limits[st.L_BLOCK_SIZE] else 0
        if planned:
            engine.memory.rhythm[NEXT_PLAN_S] = now_s
        duration_s = engine.slowdown[0] * step_seconds(engine.step_time, 0, running, context, 0, 0)
        now_s += duration_s
        slowest_s = max(slowest_s, duration_s)
        context += running
        decoders.times_s[at] = now_s
        at += 1
    if planned and at > first:
        engine.memory.rhythm[GATE_SHUT] = 0.0
    engine.now_s[0], engine.registers[st.R_FREE_BLOCKS], decoders.slowest_s[0] = now_s, free, slowest_s
    head[ITERATION], head[CONTEXT], head[PHASE] = at, context, phase
    engine.counters[ct.DECODE_TOKENS] += (at - first) * running
    return at - first
