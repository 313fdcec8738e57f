"""How readily requests take turns: the knobs `preemption_cap_growth` and `preemption_gate_relief`."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine import knobs as kn
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import StepTime
from andes_engine.survey import Survey
from andes_engine.turns import preemption_cap, preemption_gate
from andes_engine.workload import Workload

TOKEN_S, RUNNING, CONTEXT_TOKENS = 0.01, 10, 100
STEP_TIME = StepTime("ten ms", (TOKEN_S, 0.0, 0.0), (TOKEN_S, 1e-5, 0.0, 0.0, 0.0))
NOBODY = Survey(0, 0, 0, 0, np.inf, 0, 0, 0, 0, 0.0)


def engine_ahead(lead: float, running: int = RUNNING, live: int = 2 * RUNNING) -> Survey:
    """The strictest reader takes so many times as long for a token as the engine."""
    context = CONTEXT_TOKENS * live
    return NOBODY._replace(live=live, running=running, strictest_s=lead * TOKEN_S, context_tokens=context)


def cap_of(lead: float, running: int = RUNNING, step_time: StepTime = STEP_TIME, **knobs: float) -> int:
    return int(preemption_cap(engine_ahead(lead, running), Knobs(knobs).vector, step_time.vector))


def gate_of(survey: Survey, **knobs: float) -> float:
    return float(preemption_gate(survey, Knobs(knobs).vector, STEP_TIME.vector))


@pytest.mark.parametrize("lead", [0.5, 1.0, 1000.0])
def test_the_cap_is_fixed_as_in_the_paper_unless_asked_to_grow(lead: float) -> None:
    assert cap_of(lead, preemption_cap=3.0) == 3


@pytest.mark.parametrize(
    ("times_usual", "growth", "cap"), [(1.0, 1.0, 2), (4.0, 1.0, 8), (4.0, 0.5, 4), (0.1, 1.0, 2), (0.1, 0.5, 2)]
)
def test_the_cap_grows_with_the_lead_over_readers_and_never_shrinks(
    times_usual: float, growth: float, cap: int
) -> None:
    assert cap_of(times_usual * kn.USUAL_LEAD, preemption_cap=2.0, preemption_cap_growth=growth) == cap


def test_a_cap_that_rounds_to_none_may_grow_to_some() -> None:
    assert cap_of(kn.USUAL_LEAD, preemption_cap=0.25, preemption_cap_growth=1.0) == 0
    assert cap_of(4.0 * kn.USUAL_LEAD, preemption_cap=0.25, preemption_cap_growth=1.0) == 1


def test_the_lead_is_that_of_the_batch_that_runs() -> None:
    slower_with_context = StepTime("context", (0.0, 0.0, TOKEN_S / (RUNNING * CONTEXT_TOKENS)), (1.0,) * 5)
    asked = {"preemption_cap": 1.0, "preemption_cap_growth": 1.0}
    assert cap_of(4.0 * kn.USUAL_LEAD, step_time=slower_with_context, **asked) == 4
    assert cap_of(4.0 * kn.USUAL_LEAD, running=RUNNING // 2, step_time=slower_with_context, **asked) == 8


def test_where_nobody_runs_or_steps_take_no_time_it_is_a_number() -> None:
    at_once = StepTime("at once", (1e-30, 0.0, 0.0), (1.0,) * 5)
    assert cap_of(8.0, running=0, preemption_cap=2.0, preemption_cap_growth=1.0) == 2
    assert cap_of(8.0, step_time=at_once, preemption_cap=2.0, preemption_cap_growth=1.0) >= 1000


@pytest.mark.parametrize("lead", [0.5, 1000.0])
def test_the_gate_is_fixed_as_in_the_paper_unless_asked_to_fall(lead: float) -> None:
    assert gate_of(engine_ahead(lead), preemption_gate=8.0) == 8.0


@pytest.mark.parametrize(
    ("times_usual", "relief", "gate"), [(2.0, 1.0, 6.0), (2.0, 2.0, 3.0), (0.5, 1.0, 12.0), (99.0, 1.0, 1.0)]
)
def test_the_gate_falls_towards_one_with_the_lead_that_all_would_have_in_turns(
    times_usual: float, relief: float, gate: float
) -> None:
    lead = times_usual * kn.USUAL_LEAD_IN_TURNS
    half, third = (engine_ahead(waiting * lead, live=waiting * RUNNING) for waiting in (2, 3))
    for survey in (half, third):  # whoever waits shares what those that run generate
        assert gate_of(survey, preemption_gate=12.0, preemption_gate_relief=relief) == pytest.approx(gate)


def test_a_gate_of_less_than_one_is_left_alone() -> None:
    assert gate_of(engine_ahead(1000.0), preemption_gate=0.5, preemption_gate_relief=1.0) == 0.5


def rush() -> Workload:
    """Many at once, for whom there is no room together, but time enough to serve them in turns."""
    rng = np.random.default_rng(4)
    arrival_s = np.sort(rng.uniform(0.0, 10.0, 200))
    ones = np.ones(len(arrival_s))
    return Workload("rush", arrival_s, np.full(len(ones), 100), np.full(len(ones), 600), ones, 0.25 * ones)


def run(scheduler: str, **knobs: float) -> RunRecord:
    engine = EngineConfig("fast", STEP_TIME, 400, host_kv_blocks=1600, host_copy_s_per_block=1e-5)
    return run_simulated(engine, rush(), Contender(scheduler, scheduler, {"preemption_budget": 8.0, **knobs}))


@pytest.mark.parametrize("scheduler", ["andes", "round_robin"])
def test_where_decoding_is_far_faster_than_reading_more_turns_serve_better(scheduler: str) -> None:
    once, often = (run(scheduler, preemption_cap_growth=growth) for growth in (0.0, 1.0))
    assert once.notes["planned_preemptions"] < often.notes["planned_preemptions"]
    assert often.qoe.mean() > once.qoe.mean() + 0.005
