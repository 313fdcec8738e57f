"""The compiled engine against the reference engine in plain Python: step by step from equal states, and whole runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine import counters as ct
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim import state as st_
from andes_engine.sim.reference import ReferenceEngine
from andes_engine.sim.simulator import Simulator
from tests.random_cases import Case, any_case

seeds = st.integers(0, 10**6)


def reference(case: Case) -> ReferenceEngine:
    return ReferenceEngine(case.engine, case.workload, case.scheduler, case.knobs, case.lengths)


def one_iteration_further(simulator: Simulator) -> float:
    """A time to run to in which there is one iteration at most: just after now, or after the next arrival if nobody is there."""
    mine = simulator.of(0)
    now_s, registers = float(mine.now_s[0]), mine.registers
    if registers[st_.R_RUNNING] + registers[st_.R_WAITING] == 0:
        now_s = max(now_s, float(mine.table["arrival_s"][registers[st_.R_NEXT_ARRIVAL]]))
    return float(np.nextafter(now_s, np.inf))


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@settings(max_examples=4)
@given(seeds)
def test_every_iteration_from_an_equal_state(scheduler: str, seed: int) -> None:
    """The state is carried over before each iteration, so whatever differs was born in it."""
    case = any_case(seed, scheduler)
    simulator, mirror = case.started(every_step=True), reference(case)
    for _ in range(20_000):
        if simulator.drained(0):
            break
        mirror.load_state(simulator, 0)
        assert mirror.differences(simulator, 0) == []  # what is carried over is carried over whole
        until_s = one_iteration_further(simulator)
        simulator.advance(until_s)
        mirror.advance(until_s)
        assert mirror.differences(simulator, 0) == [], f"seed {seed}, iteration {mirror.counters[ct.STEPS]}"
    assert simulator.drained(0)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@settings(max_examples=5)
@given(seeds)
def test_whole_runs(scheduler: str, seed: int) -> None:
    """Nothing is carried over; the compiled engine skips iterations as it does in every run."""
    case = any_case(seed, scheduler, requests=40)
    simulator, mirror = case.started(), reference(case)
    simulator.advance(np.inf)
    mirror.advance(np.inf)
    assert mirror.differences(simulator, 0) == [], f"seed {seed}"
    record = simulator.record(0, scheduler)
    assert [times.tolist() for times in record.token_s] == mirror.token_s


def test_the_cases_use_every_mechanism() -> None:
    """Otherwise agreement would be for want of cases."""
    total = np.zeros(ct.COUNTER_COUNT, dtype=np.int64)
    hits = 0
    for seed in range(60):
        case = any_case(seed)
        mirror = reference(case)
        mirror.advance(np.inf)
        total += mirror.counters
        hits += case.engine.prefix_caching and mirror.counters[ct.PREFILL_TOKENS] < case.workload.prompt_tokens.sum()
    named = {
        "planned preemptions": total[ct.PLANNED_PREEMPTIONS],
        "emergencies": total[ct.PREEMPTIONS] - total[ct.PLANNED_PREEMPTIONS],
        "aborts": total[ct.ABORTED],
        "pauses": total[ct.PAUSES],
        "copies": total[ct.COPIED_BLOCKS],
        "prefix hits": hits,
    }
    assert all(count > 0 for count in named.values()), named


def test_a_difference_is_named_with_both_values() -> None:
    case = any_case(3, "andes")
    simulator, mirror = case.started(), reference(case)
    simulator.advance(1.0)
    mirror.advance(1.0)
    mirror.table.emitted_tokens[0] += 2
    emitted = int(simulator.of(0).table["emitted_tokens"][0])
    assert f"emitted_tokens[0]: compiled {emitted}, reference {emitted + 2}" in mirror.differences(simulator, 0)
