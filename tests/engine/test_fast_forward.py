"""Skipping over uneventful iterations changes nothing, to the bit, wherever a run is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine import counters as ct
from andes_engine.plan_memory import GATE_SHUT, ITERATION, NEXT_PLAN_S
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim import state as st_
from andes_engine.sim.fast_forward import fast_forward
from andes_engine.sim.lifecycle import ready
from andes_engine.sim.reference_state import pool_in
from andes_engine.sim.simulator import Simulator
from andes_engine.sim.state import one
from tests.random_cases import any_case

seeds = st.integers(0, 10**6)

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


@pytest.mark.parametrize("planning_period_s", [0.0, 0.4])
def test_iterations_are_skipped(planning_period_s: float) -> None:
    """Otherwise there would be nothing to compare: most iterations of a calm run are never stepped through."""
    case = any_case(5, "andes")
    simulator = case.started()
    simulator.set_knobs(
        0, np.where(np.arange(len(case.knobs)) == len(case.knobs) - 1, planning_period_s, case.knobs.vector)
    )
    engine, skipped = one(simulator.engines, 0), 0
    times_s, phases = np.zeros(4096), np.zeros(1024, dtype=np.int64)
    while ready(engine, np.inf):
        count = fast_forward(engine, np.inf, times_s, phases)
        skipped += count
        if count == 0:
            simulator.advance(float(np.nextafter(engine.now_s[0], np.inf)))
    assert simulator.drained(0)
    assert skipped > 0.3 * engine.counters[ct.STEPS]
