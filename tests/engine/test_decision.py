"""The one decision function: who it admits, whom it preempts, and what it must never do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine import decision_buffers as db
from andes_engine.decision import decide
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.plan_memory import PlanMemory, empty_memory
from andes_engine.request import Requests, deliver, empty_requests
from andes_engine.schedulers import ANDES, FCFS, SCHEDULERS
from tests.builders import make_engine

NOW_S = 100.0
seeds = st.integers(0, 10_000)
PLANNERS = sorted(name for name, kind in SCHEDULERS.items() if kind.gates and name != "authors_code")
"""Schedulers that pack within memory; the authors' code counts memory its own way (`test_authors_code`)."""


class Outcome(NamedTuple):
    admit: list[int]
    preempt: list[int]
    order: list[int]
    gated: bool
    budget: int


def scene(seed: int, engine: EngineConfig, running: int, waiting: int) -> tuple[Requests, np.ndarray, np.ndarray, int]:
    """A moment of an engine: running requests hold blocks and have spoken, waiting ones do not; and the free blocks."""
    rng = np.random.default_rng(seed)
    n = running + waiting
    table = empty_requests(n)
    table.arrival_s[:] = NOW_S - rng.uniform(0.0, 40.0, n)
    table.ttft_s[:], table.latency_s[:] = 1.0, rng.uniform(0.15, 0.3, n)
    table.prompt_tokens[:] = rng.integers(10, 600, n)
    table.preemptions[:] = rng.integers(0, 3, n)
    free = engine.kv_blocks
    for row in range(running):
        for time_s in np.sort(rng.uniform(table.arrival_s[row], NOW_S, rng.integers(1, 60))):
            deliver(table, row, time_s)
        context = table.prompt_tokens[row] + table.emitted_tokens[row]
        table.computed_tokens[row] = context - 1
        table.held_blocks[row] = -(-int(context) // engine.block_size_tokens)
        free -= table.held_blocks[row]
    return table, np.arange(running), np.arange(running, n), int(free)


def decided(
    table: Requests,
    running: np.ndarray,
    waiting: np.ndarray,
    free: int,
    engine: EngineConfig,
    scheduler: int = ANDES,
    memory: PlanMemory | None = None,
    **knobs: float,
) -> Outcome:
    plan = db.empty_decision(engine.max_num_seqs, len(table))
    view = engine.view(NOW_S, free)
    model, memory = engine.step_time.vector, memory or empty_memory(len(table))
    decide(table, running, waiting, view, scheduler, Knobs(knobs).vector, model, memory, plan)
    head = plan.head
    return Outcome(
        plan.admit[: head[db.N_ADMIT]].tolist(),
        plan.preempt[: head[db.N_PREEMPT]].tolist(),
        plan.order[: head[db.N_ORDER]].tolist(),
        bool(head[db.GATED]),
        int(head[db.TOKEN_BUDGET]),
    )


def fitting_engine(table: Requests, running: int, slack: int = 4, **limits: int) -> EngineConfig:
    """An engine whose KV cache the running requests fill but for `slack` blocks."""
    return make_engine(int(table.held_blocks[:running].sum()) + running + slack, **limits)


def crowded(seed: int, running: int = 12, waiting: int = 12, slack: int = 4) -> tuple:
    """A scene on an engine that is full, so that newcomers need victims."""
    table, runs, waits, _ = scene(seed, make_engine(5000), running, waiting)
    engine = fitting_engine(table, running, slack)
    return table, runs, waits, engine.kv_blocks - int(table.held_blocks.sum()), engine


@given(seeds)
def test_does_not_depend_on_the_order_of_requests(seed: int) -> None:
    """Up to ties, which go by that order; no two waiting requests are equally long, no budget cuts through equal victims."""
    table, running, waiting, free, engine = crowded(seed, slack=60)
    rng = np.random.default_rng(seed)
    table.prompt_tokens[waiting] = 32 * rng.permutation(len(waiting)) + 10
    first = decided(table, running, waiting, free, engine, preemption_budget=16)
    place = rng.permutation(len(table))  # row i moves to place[i]
    moved = empty_requests(len(table))
    moved[place] = table
    second = decided(
        moved, rng.permutation(place[running]), rng.permutation(place[waiting]), free, engine, preemption_budget=16
    )
    assert [place[row] for row in first.admit] == second.admit
    assert [place[row] for row in first.preempt] == second.preempt
    assert [place[row] for row in first.order] == second.order


def test_the_scenes_do_exercise_preemption() -> None:
    """Otherwise the properties here would hold for want of cases."""
    outcomes = [decided(*crowded(seed)) for seed in range(40)]
    assert sum(bool(outcome.preempt) for outcome in outcomes) >= 10
    assert sum(bool(outcome.admit) for outcome in outcomes) >= 10


@given(seeds, st.integers(0, 4), st.integers(0, 3), st.integers(1, 6))
def test_caps_and_budgets_hold(seed: int, budget: int, cap: int, admissions: int) -> None:
    table, running, waiting, free, engine = crowded(seed)
    limits = {"preemption_budget": max(budget, 0.25), "preemption_cap": max(cap, 0.25), "admission_limit": admissions}
    outcome = decided(table, running, waiting, free, engine, preemption_gate=0.25, **limits)
    assert len(outcome.preempt) <= budget
    assert len(outcome.admit) <= admissions
    assert (table.preemptions[outcome.preempt] < cap).all()
    assert set(outcome.preempt) <= set(running)
    assert set(outcome.admit) <= set(waiting)
    assert len(set(outcome.preempt)) == len(outcome.preempt)
    assert sorted(outcome.order + outcome.preempt) == sorted(running)


@pytest.mark.parametrize("name", PLANNERS)
@settings(max_examples=30)
@given(seeds, st.integers(4, 16), st.floats(0.0, 0.3))
def test_admissions_fit_beside_those_who_stay(name: str, seed: int, batch_cap: int, reserve: float) -> None:
    table, running, waiting, free, engine = crowded(seed, running=4, slack=80)
    knobs = {"batch_cap": batch_cap, "kv_reserve": reserve}
    outcome = decided(table, running, waiting, free, engine, SCHEDULERS[name].number, **knobs)
    freed = table.held_blocks[outcome.preempt].sum()
    need = sum(-(-int(table.prompt_tokens[row]) // engine.block_size_tokens) + 1 for row in outcome.admit)
    assert outcome.gated
    assert need <= free + freed - int(reserve * engine.kv_blocks)
    assert len(running) - len(outcome.preempt) + len(outcome.admit) <= max(batch_cap, len(running))


@given(seeds, st.integers(0, 12), st.integers(0, 12))
def test_untriggered_when_everything_fits(seed: int, running: int, waiting: int) -> None:
    engine = make_engine(5000)
    table, runs, waits, free = scene(seed, engine, running, waiting)
    outcome = decided(table, runs, waits, free, engine)
    assert outcome == Outcome([], [], [], False, engine.max_batched_tokens)


@pytest.mark.parametrize("tight", [{"kv_watermark": 0.5}, {"batch_cap": 4}, {}], ids=["memory", "batch", "pace"])
def test_what_triggers(tight: dict[str, float]) -> None:
    engine = make_engine(700) if "kv_watermark" in tight else make_engine(5000)
    table, running, waiting, free = scene(0, engine, 10, 10)
    assert not decided(table, running, waiting, free, engine, kv_watermark=1.0).gated
    if not tight:
        table.latency_s[3] = 0.001  # a reader faster than the engine
    assert decided(table, running, waiting, free, engine, **{"kv_watermark": 1.0, **tight}).gated


@given(seeds, st.integers(1, 12))
def test_progress_is_guaranteed(seed: int, waiting: int) -> None:
    """With nothing running, someone is admitted, whatever the knobs say."""
    engine = make_engine(100)
    table, running, waits, free = scene(seed, engine, 0, waiting)
    outcome = decided(table, running, waits, free, engine, kv_reserve=0.3, preemption_budget=0.25, kv_watermark=0.5)
    assert not outcome.gated or outcome.admit


def test_a_request_that_fills_the_cache_still_gets_in() -> None:
    engine = make_engine(40)
    table, running, waits, free = scene(0, engine, 0, 1)
    table.prompt_tokens[0] = 38 * 16
    outcome = decided(table, running, waits, free, engine, kv_reserve=0.3)
    assert outcome.gated
    assert outcome.admit == [0]


@given(seeds)
def test_fcfs_never_gates(seed: int) -> None:
    table, running, waiting, free, engine = crowded(seed)
    outcome = decided(table, running, waiting, free, engine, FCFS, prefill_tokens_per_step=32)
    assert outcome == Outcome([], [], [], False, engine.max_batched_tokens)


def test_nobody_there() -> None:
    nobody = np.zeros(0, dtype=np.int64)
    engine = make_engine(10)
    assert decided(empty_requests(1), nobody, nobody, 10, engine) == Outcome([], [], [], False, 2048)


@given(seeds)
def test_readers_come_before_prefills(seed: int) -> None:
    table, running, waiting, free, engine = crowded(seed)
    table.computed_tokens[running[::3]] //= 2  # these are still prefilling
    order = decided(table, running, waiting, free, engine).order
    prefilling = table.computed_tokens[order] < table.prompt_tokens[order] + table.emitted_tokens[order] - 1
    assert (np.diff(prefilling.astype(int)) >= 0).all()


def test_prefill_budget() -> None:
    table, running, waiting, free, engine = crowded(1)
    table.computed_tokens[running[:3]] = 0
    assert decided(table, running, waiting, free, engine, prefill_tokens_per_step=100).budget == len(running) - 3 + 100
    assert decided(table, running, waiting, free, engine).budget == engine.max_batched_tokens


@given(seeds, st.floats(0.0, 200.0))
def test_an_older_newcomer_keeps_its_place(seed: int, older_s: float) -> None:
    """Anti-starvation end to end: making an admitted newcomer older, others equal, does not shut it out."""
    table, running, waiting, free, engine = crowded(seed, slack=60)
    before = decided(table, running, waiting, free, engine).admit
    if before:
        table.arrival_s[before[0]] -= older_s
        assert before[0] in decided(table, running, waiting, free, engine).admit
