"""How often a request may be preempted: the knobs `preemption_cap` and `preemption_cap_growth`."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine import knobs as kn
from andes_engine.admission import preemption_cap
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import StepTime
from andes_engine.survey import Survey
from andes_engine.workload import Workload

TOKEN_S, RUNNING, CONTEXT_TOKENS = 0.01, 10, 100
STEP_TIME = StepTime("ten ms", (TOKEN_S, 0.0, 0.0), (TOKEN_S, 1e-5, 0.0, 0.0, 0.0))
NOBODY = Survey(0, 0, 0, 0, np.inf, 0, 0, 0, False, 0.0)


def cap_of(lead: float, running: int = RUNNING, step_time: StepTime = STEP_TIME, **knobs: float) -> int:
    """The cap where the strictest reader takes so many times as long for a token as the engine."""
    live = 2 * RUNNING
    context = CONTEXT_TOKENS * live
    survey = NOBODY._replace(live=live, running=running, strictest_s=lead * TOKEN_S, context_tokens=context)
    return int(preemption_cap(survey, Knobs(knobs).vector, step_time.vector))


@pytest.mark.parametrize("lead", [0.5, 1.0, 1000.0])
def test_it_is_fixed_as_in_the_paper_unless_asked_to_grow(lead: float) -> None:
    assert cap_of(lead, preemption_cap=3.0) == 3


@pytest.mark.parametrize(
    ("times_usual", "growth", "cap"), [(1.0, 1.0, 2), (4.0, 1.0, 8), (4.0, 0.5, 4), (0.1, 1.0, 2), (0.1, 0.5, 2)]
)
def test_it_grows_with_the_lead_over_readers_and_never_shrinks(times_usual: float, growth: float, cap: int) -> None:
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


def rush() -> Workload:
    """Many at once, for whom there is no room together, but time enough to serve them in turns."""
    rng = np.random.default_rng(4)
    arrival_s = np.sort(rng.uniform(0.0, 10.0, 200))
    ones = np.ones(len(arrival_s))
    return Workload("rush", arrival_s, np.full(len(ones), 100), np.full(len(ones), 600), ones, 0.25 * ones)


def run(growth: float, scheduler: str) -> RunRecord:
    engine = EngineConfig("fast", STEP_TIME, 400, host_kv_blocks=1600, host_copy_s_per_block=1e-5)
    knobs = {"preemption_cap_growth": growth, "preemption_budget": 8.0}
    return run_simulated(engine, rush(), Contender(scheduler, scheduler, knobs))


@pytest.mark.parametrize("scheduler", ["andes", "round_robin"])
def test_where_decoding_is_far_faster_than_reading_more_turns_serve_better(scheduler: str) -> None:
    once, often = (run(growth, scheduler) for growth in (0.0, 1.0))
    assert once.notes["planned_preemptions"] < often.notes["planned_preemptions"]
    assert often.qoe.mean() > once.qoe.mean() + 0.005
