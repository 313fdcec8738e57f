"""Skipping over uneventful iterations changes nothing, to the bit, wherever a run is cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine import counters as ct
from andes_engine import knobs as kn
from andes_engine.plan_memory import GATE_SHUT, ITERATION, NEXT_PLAN_S
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim import state as st_
from andes_engine.sim.decoders import no_decoders, settle
from andes_engine.sim.fast_forward import fast_forward
from andes_engine.sim.lifecycle import ready
from andes_engine.sim.reference_state import pool_in
from andes_engine.sim.simulator import Simulator
from andes_engine.sim.state import one
from tests.random_cases import any_case

seeds = st.integers(0, 10**6)
ROOT = Path(__file__).parents[2]

LATE_STEPS = """
import json, numpy as np
from andes_engine import counters as ct
from andes_engine.decision import decide
from andes_engine.sim import state as st_, step as module
from andes_engine.sim.decoders import COUNT
from andes_engine.sim.state import view_of
from tests.random_cases import any_case

happened, ends, chunks, step = np.zeros(ct.COUNTER_COUNT, dtype=np.int64), 0, 0, module._step

def decided(engine, plan, words):
    rows = engine.running[: engine.registers[st_.R_RUNNING]], engine.waiting[: engine.registers[st_.R_WAITING]]
    settings = engine.limits[st_.L_SCHEDULER], engine.knobs, engine.step_time, engine.memory
    decide.python(engine.table, *rows, view_of(engine), *settings, plan)

def watched(engine, plan, scheduled, load, decoders, words):
    global ends, chunks
    before, late = engine.counters.copy(), int(decoders.head[COUNT])
    step(engine, plan, scheduled, load, decoders, words)
    if late > 0:
        happened[:] += engine.counters - before
        ends += late - int(decoders.head[COUNT])
        for row in engine.running[decoders.head[COUNT] : engine.registers[st_.R_RUNNING]]:
            chunks += bool(engine.table.computed_tokens[row] < engine.table.prompt_tokens[row])

# nothing compiled can be called from here
type(decide).call_words = lambda self: np.zeros(1, dtype=np.int64)
type(decide).run = lambda self, arguments: self.python(*arguments._kept)
module._step, module.decide_for = watched, decided
for seed in (20, 26, 44, 48):  # where memory runs out for a chunk of a prompt
    any_case(seed, "fcfs", requests=30).started().advance(np.inf)
names = {"prefill": ct.PREFILL_TOKENS, "preemptions": ct.PREEMPTIONS, "copies": ct.COPIED_BLOCKS}
print(json.dumps({"ends": ends, "chunks": chunks, **{name: int(happened[at]) for name, at in names.items()}}))
"""

_INPUT_OR_SCRATCH = ("rank", "remaining_tokens", "cached_tokens", "slot", "score")


def check_same(first: Simulator, second: Simulator, looked_alike: bool = True) -> None:
    """Everything that anybody can see of an engine, and the order in which it will reuse its blocks."""
    mine, other = first.of(0), second.of(0)
    for name in ("now_s", "registers", "counters", "finish_s", "token_s"):
        assert np.array_equal(getattr(mine, name), getattr(other, name), equal_nan=True), name
    for queue, register in (("running", st_.R_RUNNING), ("waiting", st_.R_WAITING)):
        count = mine.registers[register]
        assert np.array_equal(getattr(mine, queue)[:count], getattr(other, queue)[:count]), queue
    for name in mine.table.dtype.names:
        if name not in _INPUT_OR_SCRATCH:
            assert np.array_equal(mine.table[name], other.table[name], equal_nan=True), name
    rhythm = [NEXT_PLAN_S, GATE_SHUT, ITERATION]
    assert np.array_equal(mine.memory.rhythm[rhythm], other.memory.rhythm[rhythm])
    assert np.array_equal(mine.memory.hazard, other.memory.hazard)
    assert np.array_equal(mine.memory.user_service, other.memory.user_service)
    if looked_alike:  # observations are since the last one
        assert np.array_equal(first.observations(), second.observations())
    if mine.limits[st_.L_PREFIX_CACHING] != 0:
        assert pool_in(mine, [])[0].contents() == pool_in(other, [])[0].contents()


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@settings(max_examples=25)
@given(seeds, st.booleans())
def test_skipping_is_taking_every_step(scheduler: str, seed: int, token_log: bool) -> None:
    case = any_case(seed, scheduler, requests=40)
    skipping, stepping = case.started(token_log), case.started(token_log, every_step=True)
    for simulator in (skipping, stepping):
        simulator.advance(np.inf)
    check_same(skipping, stepping)
    assert skipping.drained(0)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@settings(max_examples=5)
@given(seeds, st.floats(0.1, 3.0), st.booleans())
def test_cuts_change_nothing(scheduler: str, seed: int, slice_s: float, both_skip: bool) -> None:
    """Advancing in random slices; at each cut the run that takes every step is in the same state."""
    case = any_case(seed, scheduler, requests=30)
    rng = np.random.default_rng(seed)
    sliced, other, whole = case.started(), case.started(every_step=not both_skip), case.started()
    until_s = 0.0
    while not sliced.drained(0):
        until_s += rng.exponential(slice_s)
        sliced.advance(until_s)
        other.advance(until_s)
        check_same(sliced, other)
    whole.advance(np.inf)
    sliced.advance(np.inf)
    check_same(sliced, whole, looked_alike=False)


@pytest.mark.parametrize("scheduler", ["fcfs", "sarathi"])
@settings(max_examples=60)
@given(seeds, st.floats(0.05, 10.0))
def test_a_busy_engine_accounts_late_for_the_same(scheduler: str, seed: int, slice_s: float) -> None:
    """First come, first served: decoders stay unaccounted for while others arrive, prefill in chunks, are preempted, leave."""
    case = any_case(seed, scheduler, requests=120)
    late, stepping = case.started(), case.started(every_step=True)
    for until_s in (slice_s, 3.0 * slice_s, np.inf):
        late.advance(until_s)
        stepping.advance(until_s)
        check_same(late, stepping)


def test_decoders_are_late_while_everything_happens() -> None:
    """Otherwise the test above would compare two runs that account for everybody at once. Uncompiled, so that one can look in."""
    done = subprocess.run(
        [sys.executable, "-c", LATE_STEPS],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert all(count > 0 for count in seen.values()), seen


@pytest.mark.parametrize("planning_period_s", [0.0, 0.4])
def test_iterations_are_skipped(planning_period_s: float) -> None:
    """Otherwise there would be nothing to compare: most iterations of a calm run are never stepped through."""
    case = any_case(5, "andes")
    simulator = case.started()
    knobs = case.knobs.vector.copy()
    knobs[kn.PLANNING_PERIOD_S] = planning_period_s
    simulator.set_knobs(0, knobs)
    engine, skipped = one(simulator.engines, 0), 0
    decoders = no_decoders.py_func(engine.running.shape[0], 4096)
    while ready(engine, np.inf):
        count = fast_forward(engine, np.inf, decoders)
        skipped += count
        settle(engine, decoders)
        if count == 0:
            simulator.advance(float(np.nextafter(engine.now_s[0], np.inf)))
    assert simulator.drained(0)
    assert skipped > 0.3 * engine.counters[ct.STEPS]
