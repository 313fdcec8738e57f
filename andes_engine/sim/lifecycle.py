"""A request's way through a simulated engine: arrival, preemption, tokens, its end, and readers who leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled
from andes_engine.lengths import HAZARD, observe_censored, observe_finish
from andes_engine.native import native
from andes_engine.plan_memory import NEXT_ABORT_S
from andes_engine.schedulers import VTC
from andes_engine.schedulers.vtc import charge, lift
from andes_engine.sim import state as st
from andes_engine.sim.kv_cache import keep_on_host, leave_host, release
from andes_engine.sim.state import Engines, example_engine


@compiled
def ready(engine: Engines, until_s: float) -> bool:
    """Let requests arrive and leave, and idle time pass; whether there is an iteration to run before `until_s`."""
    registers = engine.registers
    while engine.now_s[0] < until_s:
        arrive(engine)
        if engine.now_s[0] >= engine.memory.rhythm[NEXT_ABORT_S]:
            _leave(engine)
        if registers[st.R_RUNNING] + registers[st.R_WAITING] > 0:
            return True
        if registers[st.R_NEXT_ARRIVAL] == registers[st.R_LIMIT]:
            return False
        engine.now_s[0] = min(until_s, engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]])
    return False


@native(lambda: (*example_engine(), 0.0, np.zeros(1, dtype=np.int64)))
def note_ready(engine: Engines, until_s: float, answer: NDArray[np.int64]) -> None:
    """`ready` for a caller in Python: writes 1 or 0."""
    answer[0] = 1 if ready(engine, until_s) else 0


@compiled
def somebody_leaves(engine: Engines, until_s: float) -> bool:
    """Whether `ready` would take out a reader before anything else happens; lets arrive what has."""
    if engine.now_s[0] >= until_s:
        return False
    arrive(engine)
    return engine.now_s[0] >= engine.memory.rhythm[NEXT_ABORT_S]


@compiled
def arrive(engine: Engines) -> None:
    """Queue what has arrived by now."""
    registers, rhythm = engine.registers, engine.memory.rhythm
    while (
        registers[st.R_NEXT_ARRIVAL] < registers[st.R_LIMIT]
        and engine.table.arrival_s[registers[st.R_NEXT_ARRIVAL]] <= engine.now_s[0]
    ):
        row = registers[st.R_NEXT_ARRIVAL]
        if engine.limits[st.L_SCHEDULER] == VTC:
            lift(
                engine.memory.user_service,
                engine.table.user[row],
                engine.table,
                engine.waiting[: registers[st.R_WAITING]],
            )
        engine.waiting[registers[st.R_WAITING]] = row
        rhythm[NEXT_ABORT_S] = min(rhythm[NEXT_ABORT_S], engine.abort_s[row])
        registers[st.R_WAITING] += 1
        registers[st.R_NEXT_ARRIVAL] += 1
        engine.counters[ct.ARRIVED] += 1


@compiled
def _leave(engine: Engines) -> None:
    """Take out the requests whose reader has left, and note when the next one may."""
    engine.memory.rhythm[NEXT_ABORT_S] = np.inf
    for queue, register in ((engine.running, st.R_RUNNING), (engine.waiting, st.R_WAITING)):
        kept = 0
        for place in range(engine.registers[register]):
            row = queue[place]
            if engine.abort_s[row] <= engine.now_s[0]:
                _abort(engine, row)
            else:
                engine.memory.rhythm[NEXT_ABORT_S] = min(engine.memory.rhythm[NEXT_ABORT_S], engine.abort_s[row])
                queue[kept] = row
                kept += 1
        engine.registers[register] = kept


@compiled
def _abort(engine: Engines, row: int) -> None:
    release(engine, row)
    leave_host(engine, row)
    if engine.memory.length_kind[0] == HAZARD:
        observe_censored(engine.memory.hazard, engine.table.prompt_tokens[row], engine.table.emitted_tokens[row])
    engine.counters[ct.FINISHED] += 1
    engine.counters[ct.ABORTED] += 1


@compiled
def preempt(engine: Engines, row: int) -> None:
    """Free all blocks and put the request, already off the running list, at the head of the queue."""
    table, registers = engine.table, engine.registers
    keep_on_host(engine, row)
    release(engine, row)
    table.lost_tokens[row] += table.computed_tokens[row]
    table.computed_tokens[row] = 0
    table.paused[row] = 0
    table.preemptions[row] += 1
    count = registers[st.R_WAITING]
    for place in range(count, 0, -1):
        engine.waiting[place] = engine.waiting[place - 1]
    engine.waiting[0] = row
    registers[st.R_WAITING] = count + 1
    engine.counters[ct.PREEMPTIONS] += 1


@compiled
def note_token(engine: Engines, row: int, now_s: float) -> None:
    """A token is about to be delivered: log its time, charge its user."""
    table = engine.table
    if engine.token_s.shape[0] > 0:
        engine.token_s[engine.token_offset[row] + table.emitted_tokens[row]] = now_s
    if engine.limits[st.L_SCHEDULER] == VTC:
        prompt = table.prompt_tokens[row] if table.emitted_tokens[row] == 0 else 0
        charge(engine.memory.user_service, table.user[row], prompt, 1)


@compiled
def finish(engine: Engines, row: int, now_s: float) -> None:
    """The last token is out."""
    release(engine, row)
    engine.finish_s[row] = now_s
    engine.counters[ct.FINISHED] += 1
    if engine.memory.length_kind[0] == HAZARD:
        observe_finish(engine.memory.hazard, engine.table.prompt_tokens[row], engine.output_tokens[row])
