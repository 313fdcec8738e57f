"""The authors' published decision: each quirk, the order of a set, and its plain Python twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine import decision_buffers as db
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.request import Requests, deliver, empty_requests
from andes_engine.schedulers.authors_code import (
    authors_blocks,
    authors_gain,
    authors_slack_s,
    plan_authors_code,
)
from andes_engine.schedulers.cpython_set import set_order
from benchmarks.authors_decision import Choice, Solver, sequence_groups
from tests.builders import make_engine

NOW_S = 1000.0
seeds = st.integers(0, 10_000)


def fresh(count: int, prompt_tokens: list[int] | np.ndarray, ttft_s: float = 1.0) -> Requests:
    """Requests that have just come."""
    table = empty_requests(count)
    table.arrival_s[:], table.ttft_s[:], table.latency_s[:], table.prompt_tokens[:] = NOW_S, ttft_s, 0.2, prompt_tokens
    return table


def run(table: Requests, row: int, tokens: int, ahead_s: float, block_size: int = 16) -> None:
    """Make a request a running one with `tokens` delivered at once, whose next is due in `ahead_s`, or as late as can be."""
    table.arrival_s[row] = min(NOW_S - 0.6, NOW_S + ahead_s - table.ttft_s[row] - tokens * table.latency_s[row])
    for _ in range(tokens):
        deliver(table, row, table.arrival_s[row] + 0.5)
    context = table.prompt_tokens[row] + tokens
    table.computed_tokens[row], table.held_blocks[row] = context - 1, -(-int(context) // block_size)


def decided(
    table: Requests, running: list[int], waiting: list[int], engine: EngineConfig, iteration: int = 0, **knobs: float
) -> Choice:
    free = engine.kv_blocks - int(table.held_blocks[running].sum())
    plan = db.empty_decision(engine.max_num_seqs, len(table))
    rows = np.array(running, np.int64), np.array(waiting, np.int64)
    plan_authors_code(table, *rows, engine.view(NOW_S, free), Knobs(knobs).vector, plan, iteration)
    head = plan.head
    assert head[db.GATED] == 1
    assert head[db.TOKEN_BUDGET] == engine.max_batched_tokens
    preempt = plan.preempt[: head[db.N_PREEMPT]].tolist()
    assert plan.order[: head[db.N_ORDER]].tolist() == [row for row in running if row not in preempt]
    return Choice(plan.admit[: head[db.N_ADMIT]].tolist(), preempt)


def crowd(seed: int) -> tuple[Requests, list[int], list[int], EngineConfig]:
    """A full engine, readers mostly on time, newcomers. Short running requests are worth more than those: eligible are a few."""
    rng = np.random.default_rng(seed)
    running, waiting = int(rng.integers(1, 40)), int(rng.integers(0, 30))
    table = fresh(running + waiting, rng.integers(1, 900, running + waiting), ttft_s=float(rng.choice([1.0, 30.0])))
    for row in range(running):
        if rng.random() < 0.5:
            table.prompt_tokens[row] = rng.integers(1, 16)
        run(
            table,
            row,
            int(rng.integers(1, 30 if table.prompt_tokens[row] < 16 else 300)),
            float(rng.uniform(-2.0 if rng.random() < 0.2 else 0.1, 40.0)),
        )
    table.arrival_s[running:] -= rng.uniform(0.0, 40.0 if rng.random() < 0.3 else 0.9, waiting)
    order = rng.permutation(running)
    engine = make_engine(int(table.held_blocks.sum()) + int(rng.integers(running + 2, 3 * running + 40)))
    return table, order.tolist(), list(range(running, running + waiting)), engine


@given(seeds, st.integers(0, 20))
def test_decides_as_its_plain_python_twin(seed: int, iteration: int) -> None:
    table, running, waiting, engine = crowd(seed)
    free = engine.kv_blocks - int(table.held_blocks[running].sum())
    solver = Solver(engine.view(NOW_S, free))
    groups = sequence_groups(table, running), sequence_groups(table, waiting)
    for number in (0, iteration):
        assert decided(table, running, waiting, engine, number) == solver.decide(*groups, number)


def test_the_scenes_reach_every_branch() -> None:
    """The property above says something: its scenes preempt, admit without preempting, and hold back."""
    outcomes = [decided(*crowd(seed)) for seed in range(80)]
    assert sum(bool(outcome.preempt) for outcome in outcomes) > 10
    assert sum(bool(outcome.admit) and not outcome.preempt for outcome in outcomes) > 10
    assert sum(not outcome.admit for outcome in outcomes) > 3


@given(st.sets(st.integers(0, 400), max_size=120))
def test_set_order_is_that_of_the_interpreter(members: set[int]) -> None:
    added = sorted(members)
    by_comprehension = {index for index in added}  # noqa: C416  as the code under test fills it
    assert set_order(np.array(added, np.int64)).tolist() == list(by_comprehension)


def test_quirk_1_the_length_is_divided_out_twice() -> None:
    """Two newcomers, one twice as long and with more than twice the gain: gain / l prefers it, gain / l**2 does not."""
    table = fresh(4, [10, 10, 16 * 9 + 4, 16 * 19 + 4])
    for row in (0, 1):
        run(table, row, 300, ahead_s=55.0)  # so far ahead that serving gains nothing
    table.ttft_s[2:] = 12.0
    table.arrival_s[2], table.arrival_s[3] = NOW_S - 10.0, NOW_S - 2.1
    gain = [authors_gain(table, row, False, NOW_S) for row in (2, 3)]
    blocks = [authors_blocks(table, row, 16) for row in (2, 3)]
    assert gain[1] / blocks[1] > gain[0] / blocks[0]
    assert gain[1] / blocks[1] ** 2 < gain[0] / blocks[0] ** 2
    assert decided(table, [0, 1], [2, 3], make_engine(42)) == Choice(admit=[2, 3], preempt=[0, 1])
    assert decided(table, [0, 1], [2, 3], make_engine(1000)).admit == [3, 2]  # outside a plan it ranks by gain / l


def test_quirk_2_the_gain_of_the_unserved_falls_with_age() -> None:
    table = fresh(3, [100] * 3)
    table.arrival_s[:] = NOW_S - np.array([0.0, 10.0, 30.0])
    gains = [authors_gain(table, row, False, NOW_S) for row in range(3)]
    assert gains == pytest.approx([1.0, 0.25, 0.0625])
    roomy = make_engine(1000)
    assert decided(table, [], [2, 1, 0], roomy).admit == [0, 1, 2]  # youngest first


def late_scene(late: int) -> tuple[Requests, list[int], list[int], EngineConfig]:
    """Nine running requests far ahead of their readers, but for `late`; eleven newcomers, the shortest last in the queue."""
    table = fresh(20, [210] * 9 + [16 * blocks for blocks in range(15, 4, -1)])
    for row in range(9):
        run(table, row, 150, ahead_s=-1.0 if row < late else 25.0)
    return table, list(range(9)), list(range(9, 20)), make_engine(9 * 23 + 17)


def test_quirk_3_preemption_switches_itself_off_when_many_are_late() -> None:
    assert decided(*late_scene(late=2)).preempt  # 2 of 20 are 10 %
    off = decided(*late_scene(late=3))
    assert off.preempt == []
    assert off.admit == [9]  # first come, first served: 15 of 17 free blocks, although three others fit
    assert decided(*late_scene(late=3), iteration=1).admit[0] == 19


def test_quirk_4_victims_are_the_first_eligible_not_the_least_valued() -> None:
    """The last running request is the furthest ahead, and worth nothing; the first one has to go."""
    table = fresh(4, [320, 320, 320, 160])
    for row, ahead_s in enumerate([4.0, 4.0, 12.0]):
        run(table, row, 60, ahead_s)
    table.ttft_s[3] = 0.014  # slack for one recomputation, of 11 ms
    values = [authors_gain(table, row, True, NOW_S) for row in range(3)]
    assert values[2] == 0.0 < values[0]
    assert decided(table, [0, 1, 2], [3], make_engine(3 * 24 + 3)).preempt == [0]
    assert decided(table, [2, 0, 1], [3], make_engine(3 * 24 + 3)).preempt == [2]  # the running order decides


def test_quirk_5_set_order_attaches_values_to_the_wrong_request() -> None:
    """Of running requests 1 and 8 the less worthy is 1; a set of {1, 8} is walked 8 first, so 8 has to go."""
    table = fresh(10, [320] * 10)
    for row in range(9):
        run(table, row, 20, ahead_s=3.9 if row == 1 else 0.3)
        if row not in (1, 8):
            table.prompt_tokens[row] = 16  # short ones are worth more than any newcomer
            table.held_blocks[row] = 3
    table.prompt_tokens[9] = 100
    assert list({1, 8}) == [8, 1]
    worth = [authors_gain(table, row, True, NOW_S) / authors_blocks(table, row, 16) for row in range(9)]
    newcomer = authors_gain(table, 9, False, NOW_S) / authors_blocks(table, 9, 16)
    assert [row for row in range(9) if worth[row] <= newcomer] == [1, 8]
    assert worth[1] < worth[8]
    used = sum(authors_blocks(table, row, 16) for row in range(9))
    outcome = decided(table, list(range(9)), [9], make_engine(used))
    assert outcome.preempt == [8]


@given(seeds)
def test_quirk_6_is_not_kept_nobody_is_lost(seed: int) -> None:
    table, running, waiting, engine = crowd(seed)
    outcome = decided(table, running, waiting, engine)
    assert set(outcome.preempt) <= set(running)
    assert set(outcome.admit) <= set(waiting)
    assert len(set(outcome.admit)) == len(outcome.admit)
    held = sum(-(-int(table.prompt_tokens[row]) // 16) for row in outcome.admit)
    assert held <= engine.kv_blocks - table.held_blocks[running].sum() + table.held_blocks[outcome.preempt].sum()


@given(seeds)
def test_quirk_7_nothing_is_tuned_to_the_engine(seed: int) -> None:
    scene = crowd(seed)
    assert decided(*scene) == decided(*scene, horizon_s=400.0, preemption_cap=16.0, kv_watermark=0.5)


@pytest.mark.parametrize(("context", "blocks"), [(15, 2), (31, 2), (47, 4), (63, 4), (20, 2), (33, 3)])
def test_quirk_8_blocks_round_half_to_even(context: int, blocks: int) -> None:
    """Full blocks weigh one more or none; 20 tokens and the next need 2, 33 need 3."""
    assert authors_blocks(fresh(1, [context]), 0, 16) == blocks
    assert round((context + 1) / 16 + 0.5) == blocks


def test_below_the_watermark_all_are_offered_by_gain_per_block() -> None:
    table = fresh(4, [400, 100, 300, 200])
    assert decided(table, [], [0, 1, 2, 3], make_engine(1000)).admit == [1, 3, 2, 0]


def test_slack_is_measured_on_the_timeline_of_arrival() -> None:
    table = fresh(1, [10])
    table.arrival_s[0] = NOW_S - 5.0
    assert authors_slack_s(table, 0, NOW_S) == pytest.approx(-4.0)
    deliver(table, 0, NOW_S)
    assert authors_slack_s(table, 0, NOW_S) == pytest.approx(-3.8)  # the lag of 4 s does not move it
    assert not math.isnan(authors_gain(table, 0, True, NOW_S))
