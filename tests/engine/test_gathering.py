"""Prefill gathered into few iterations: the knob `prefill_gather_s`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from andes_engine.knobs import Knobs
from andes_engine.plan_memory import LET_IN_S, empty_memory
from andes_engine.request import Requests, empty_requests
from andes_engine.schedulers import ANDES, SCHEDULERS
from andes_engine.sim.simulator import simulate
from andes_engine.step_time import StepTime
from tests.builders import make_engine, make_workload
from tests.engine.test_decision import NOW_S, PLANNERS, Outcome, decided

DECODE = (0.01, 2e-5, 0.0)
MIXED_COSTS = StepTime("mixed costs", DECODE, (0.01, 2e-5, 1.2e-4, 0.0, 0.0))
MIXED_IS_FREE = StepTime("mixed is free", DECODE, (0.01, 2e-5, 2e-5, 0.0, 0.0))
ENGINE = make_engine(300, max_batched_tokens=512)
RUNNING, BLOCKS_EACH = 20, 7
GATHER_S = 1.0
PAYS_S = 0.02
"""Two newcomers have then waited as long as 20 who decode are held up by prefill, 2 ms each."""


def table_of(*newcomers: int, owed: int = 0) -> Requests:
    """Requests that decode, the last of them with so much of its prompt to go, and newcomers with prompts of these lengths."""
    table = empty_requests(RUNNING + len(newcomers))
    table.arrival_s[:], table.ttft_s[:], table.latency_s[:] = NOW_S - 0.1, 1.0, 0.2
    table.prompt_tokens[:RUNNING], table.prompt_tokens[RUNNING:] = 100, newcomers
    table.computed_tokens[:RUNNING], table.emitted_tokens[:RUNNING] = 100, 1
    table.computed_tokens[RUNNING - 1] -= owed
    table.held_blocks[:RUNNING] = BLOCKS_EACH
    return table


def outcome_of(
    table: Requests,
    since_s: float = PAYS_S / 2,
    step_time: StepTime = MIXED_COSTS,
    running: int = RUNNING,
    scheduler: int = ANDES,
    **knobs: float,
) -> Outcome:
    """What is decided so long after somebody was let in."""
    memory, rows = empty_memory(len(table)), np.arange(len(table))
    memory.rhythm[LET_IN_S] = NOW_S - since_s
    free = ENGINE.kv_blocks - BLOCKS_EACH * running
    engine = replace(ENGINE, step_time=step_time)
    knobs = {"prefill_gather_s": GATHER_S, "kv_watermark": 0.5, **knobs}
    return decided(table, rows[:running], rows[running:], free, engine, scheduler, memory, **knobs)


@pytest.mark.parametrize("scheduler", PLANNERS)
def test_whoever_comes_soon_after_others_waits(scheduler: str) -> None:
    number = SCHEDULERS[scheduler].number
    for since_s in (0.0, 0.9 * PAYS_S):
        outcome = outcome_of(table_of(50, 60), since_s, scheduler=number)
        assert outcome.gated and outcome.admit == [] and sorted(outcome.order) == list(range(RUNNING))
    assert len(outcome_of(table_of(50, 60), GATHER_S, scheduler=number).admit) == 2


def test_nobody_is_preempted_for_whoever_waits() -> None:
    """Those who run are far ahead of their readers, who take their time."""
    table = table_of(50, 60)
    table.latency_s[:RUNNING] = 100.0
    crowded = {"batch_cap": float(RUNNING), "stall_price": 0.0}
    assert outcome_of(table, GATHER_S, **crowded).preempt
    held = outcome_of(table, **crowded)
    assert held.preempt == held.admit == [] and len(held.order) == RUNNING


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(lambda: outcome_of(table_of(300, 300)), id="their prefill fills an iteration"),
        pytest.param(lambda: outcome_of(table_of(50, 60, owed=30)), id="somebody has prefill to do"),
        pytest.param(lambda: outcome_of(table_of(50, 60), step_time=MIXED_IS_FREE), id="prefill slows nobody down"),
        pytest.param(lambda: outcome_of(table_of(50, 60), 1.1 * PAYS_S), id="they have waited for as long as it pays"),
        pytest.param(lambda: outcome_of(table_of(50, 60, 70), 0.7 * PAYS_S), id="three have waited for as long sooner"),
        pytest.param(lambda: outcome_of(table_of(50, 60), prefill_gather_s=PAYS_S / 4), id="longer than the knob says"),
        pytest.param(lambda: outcome_of(table_of(50, 60), prefill_gather_s=0.0), id="the knob is off"),
        pytest.param(lambda: outcome_of(table_of(*[1000] * 3), running=0), id="nobody decodes"),
    ],
)
def test_nobody_waits_where(outcome: Callable[[], Outcome]) -> None:
    assert len(outcome().admit) >= 2


def test_where_prefill_slows_decoding_it_pays() -> None:
    """With some victims for each time that newcomers come in: they come in less often."""
    engine, workload = replace(make_engine(2000), step_time=MIXED_COSTS), make_workload(5, 900, 60.0)
    setting = {"preemption_budget": 16.0, "preemption_gate": 4.0}
    plain, gathered = (
        simulate(engine, workload, "andes", Knobs({**setting, "prefill_gather_s": wait})) for wait in (0.0, 0.3)
    )
    assert (gathered.emitted_tokens == workload.output_tokens).all()
    assert gathered.duration_s < 0.97 * plain.duration_s
    assert gathered.qoe.mean() > plain.qoe.mean() + 0.02
