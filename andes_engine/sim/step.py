"""One iteration of a vLLM V1 engine: the decision, tokens given out as vLLM does (`scheduling`), their time, their delivery."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import (
    N_ORDER,
    N_PAUSED,
    N_PREEMPT,
    PLANNED,
    TOKEN_BUDGET,
    Decision,
    empty_decision,
)
from andes_engine.native import call
from andes_engine.ranking import ONE
from andes_engine.request import context_tokens, deliver
from andes_engine.schedulers import SARATHI, VTC
from andes_engine.sim import decoders as dc
from andes_engine.sim import state as st
from andes_engine.sim.decoders import Decoders, can_decode, no_decoders, part, pass_iteration, settle
from andes_engine.sim.fast_forward import fast_forward
from andes_engine.sim.kv_cache import note_cached
from andes_engine.sim.lifecycle import finish, note_token, preempt, ready, somebody_leaves
from andes_engine.sim.load import LOAD_SIZE, PREFILL, load_seconds
from andes_engine.sim.scheduling import schedule_decoders, schedule_running, schedule_waiting, take_out
from andes_engine.sim.state import Engines, view_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_LATE = 4096
"""Iterations after which decoders are accounted for, at the latest."""


class Scratch(NamedTuple):
    """What a thread needs to run one engine after the other.

    Attributes:
        plan: Receives decisions.
        scheduled: Tokens of each running request in an iteration. Shape (max_num_seqs,).
        load: Sums of an iteration, in the order of `load`.
        decoders: Those that are accounted for late.
        decide: ``decision.decide.call_words()``, to write to.
    """

    plan: Decision
    scheduled: IntArray
    load: IntArray
    decoders: Decoders
    decide: IntArray


def scratch_for(engines: Engines, decide: IntArray, every_step: bool) -> Scratch:
    """Scratch for engines of this size; `every_step` steps through every iteration and accounts for every request in it."""
    seqs = engines.running.shape[-1]
    return Scratch(
        empty_decision.py_func(seqs, engines.waiting.shape[-1]),
        np.zeros(seqs, dtype=np.int64),
        np.zeros(LOAD_SIZE, dtype=np.int64),
        no_decoders.py_func(seqs, 0 if every_step else _MOST_LATE),
        decide,
    )


@compiled
def advance(engine: Engines, until_s: float, scratch: Scratch) -> None:
    """Run one engine until its time, or until it has drained.

    Where plans or cached prefixes look at requests one by one, decoders are up to date before every iteration.
    """
    decoders = scratch.decoders
    late = engine.limits[st.L_SCHEDULER] <= SARATHI and engine.limits[st.L_PREFIX_CACHING] == 0
    while True:
        if not late or somebody_leaves(engine, until_s):
            settle(engine, decoders)
        if not ready(engine, until_s):
            break
        if fast_forward(engine, until_s, decoders) == 0:
            if not late or not can_decode(engine, decoders):
                settle(engine, decoders)
            _step(engine, scratch.plan, scratch.scheduled, scratch.load, decoders, scratch.decide)
    settle(engine, decoders)


@compiled_into_caller
def _step(
    engine: Engines, plan: Decision, scheduled: IntArray, load: IntArray, decoders: Decoders, words: IntArray
) -> None:
    """One iteration: decide, apply, schedule, let its time pass, deliver its tokens (those of decoders late)."""
    if engine.limits[st.L_PREFIX_CACHING] != 0 and engine.limits[st.L_SCHEDULER] > SARATHI:
        note_cached(engine)
    decide_for(engine, plan, words)
    engine.counters[ct.DECISIONS] += plan.head[PLANNED]
    engine.counters[ct.PAUSES] += plan.head[N_PAUSED]
    _apply(engine, plan)
    budget = plan.head[TOKEN_BUDGET] - schedule_decoders(engine, decoders, load)
    budget, emergency = schedule_running(engine, decoders.head[dc.COUNT], budget, scheduled, load)
    if not emergency:
        schedule_waiting(engine, plan, budget, scheduled, load)
    _execute(engine, scheduled, load, decoders)


@compiled
def decide_for(engine: Engines, plan: Decision, words: IntArray) -> None:
    """Ask the scheduling core about the coming iteration; `words` is a copy of ``decision.decide.call_words()`` to write to."""
    running = engine.running[: engine.registers[st.R_RUNNING]]
    waiting = engine.waiting[: engine.registers[st.R_WAITING]]
    scheduler = engine.limits[st.L_SCHEDULER]
    state = (engine.table, running, waiting, view_of(engine), scheduler)
    if call(words, (*state, engine.knobs, engine.step_time, engine.memory, plan)) == 0:
        raise RuntimeError("the scheduling core failed; its own message is on stderr")


@compiled_into_caller
def _apply(engine: Engines, plan: Decision) -> None:
    """Preempt and reorder as planned."""
    head = plan.head
    for index in range(head[N_PREEMPT]):
        take_out(engine.running, engine.registers, st.R_RUNNING, plan.preempt[index])
        preempt(engine, plan.preempt[index])
    engine.counters[ct.PLANNED_PREEMPTIONS] += head[N_PREEMPT]
    for place in range(head[N_ORDER]):
        engine.running[place] = plan.order[place]


@compiled_into_caller
def _execute(engine: Engines, scheduled: IntArray, load: IntArray, decoders: Decoders) -> None:
    """Let the iteration's time pass, then deliver a token to each request whose KV is complete."""
    table, registers, counters = engine.table, engine.registers, engine.counters
    duration_s = engine.slowdown[0] * load_seconds(engine.step_time, load) + registers[st.R_COPIED] * engine.copy_s[0]
    engine.now_s[0] += duration_s
    now_s = engine.now_s[0]
    counters[ct.COPIED_BLOCKS] += registers[st.R_COPIED]
    registers[st.R_COPIED] = 0
    counters[ct.STEPS] += 1
    counters[ct.PREFILL_TOKENS] += load[PREFILL]
    watched = engine.token_s.shape[0] > 0 or engine.limits[st.L_SCHEDULER] == VTC
    first, kept = decoders.head[dc.COUNT], 0
    emitted = first
    if first > 0:
        pass_iteration(engine, decoders, duration_s)
        kept = part(engine, decoders)
    rows, left = engine.running.view(np.uint64), np.uint64(kept)
    place, end = np.uint64(first), np.uint64(registers[st.R_RUNNING])
    while place < end:
        row, tokens = rows[place], scheduled[place]
        place += ONE
        computed = table.computed_tokens[row] + tokens
        table.computed_tokens[row] = computed
        if tokens > 0 and computed == context_tokens(table, row):
            if watched:
                note_token(engine, row, now_s)
            deliver(table, row, now_s)
            emitted += 1
            if table.emitted_tokens[row] == engine.output_tokens[row]:
                finish(engine, row, now_s)
                continue
        rows[left] = row
        left += ONE
    counters[ct.DECODE_TOKENS] += emitted
    registers[st.R_RUNNING] = left
