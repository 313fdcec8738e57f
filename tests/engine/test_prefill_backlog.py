"""An engine with memory to spare can be short of compute: the knob `prefill_backlog_s`."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine.knobs import Knobs
from andes_engine.request import Requests, empty_requests
from andes_engine.schedulers import ANDES, SCHEDULERS
from andes_engine.sim.simulator import simulate
from tests.builders import make_engine, make_workload
from tests.engine.test_decision import NOW_S, PLANNERS, Outcome, decided

ROOMY = make_engine(100_000)
NOBODY = np.zeros(0, dtype=np.int64)


def queue_of(*prompt_tokens: int) -> Requests:
    """Requests that have just arrived."""
    table = empty_requests(len(prompt_tokens))
    table.arrival_s[:], table.ttft_s[:], table.latency_s[:] = NOW_S - 0.1, 1.0, 0.2
    table.prompt_tokens[:] = prompt_tokens
    return table


def of_queue(table: Requests, scheduler: int = ANDES, **knobs: float) -> Outcome:
    return decided(table, NOBODY, np.arange(len(table)), ROOMY.kv_blocks, ROOMY, scheduler, **knobs)


def test_without_a_limit_prompts_that_fit_do_not_compete() -> None:
    assert not of_queue(queue_of(*[4000] * 40)).gated


def test_newcomers_wait_while_enough_prefill_is_owed() -> None:
    """A full chunk of 2048 tokens takes 0.22 s: half a second is four prompts of 1000 tokens and a part of the fifth."""
    outcome = of_queue(queue_of(*[1000] * 40), prefill_backlog_s=0.5)
    assert outcome.gated and len(outcome.admit) == 5


def test_short_prompts_go_first() -> None:
    lengths = [3000, 200, 1500, 100, 4000, 800]
    outcome = of_queue(queue_of(*lengths), prefill_backlog_s=0.1)
    assert outcome.admit == [3, 1, 5]


def test_a_prompt_longer_than_the_limit_is_served_all_the_same() -> None:
    outcome = of_queue(queue_of(90_000, 90_000), prefill_backlog_s=0.05)
    assert len(outcome.admit) == 1


@pytest.mark.parametrize("scheduler", PLANNERS)
def test_every_order_keeps_to_the_limit(scheduler: str) -> None:
    outcome = of_queue(queue_of(*[1000] * 40), SCHEDULERS[scheduler].number, prefill_backlog_s=0.5)
    assert len(outcome.admit) == 5


def test_who_only_decodes_is_not_held_up() -> None:
    """Nothing is owed, so the trigger is the paper's."""
    workload = make_workload(1, 60, 2.0, mean_prompt=20)
    plain, limited = (simulate(ROOMY, workload, "andes", Knobs(knobs)) for knobs in ({}, {"prefill_backlog_s": 5.0}))
    assert np.array_equal(plain.finish_s, limited.finish_s)


def test_where_compute_is_short_more_answers_begin_in_time() -> None:
    workload = make_workload(2, 300, 14.0, mean_prompt=1500, mean_output=20)
    plain, limited = (simulate(ROOMY, workload, "andes", Knobs(knobs)) for knobs in ({}, {"prefill_backlog_s": 0.5}))
    assert limited.qoe.mean() > plain.qoe.mean() + 0.1
