"""What defines each rival scheduler: all of them as scores, and those that look at the reader."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.request import Requests, best_case_qoe, next_due_s
from andes_engine.schedulers import (
    buffer_aware,
    deadline,
    least_qoe,
    least_slack,
    mlfq,
    round_robin,
    sarathi,
    srpt,
    vtc,
)
from andes_engine.schedulers.score_view import attained_s, out_of_service_s, prefill_left_s, seniority
from tests.scheduler_scenes import NOW_S, live, order, requests, scores, spoken, view

RIVALS = (buffer_aware, deadline, least_qoe, least_slack, mlfq, round_robin, sarathi, srpt, vtc)
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.__name__.rsplit(".")[-1])
@given(seed=seeds)
def test_a_score_is_finite_and_does_not_depend_on_its_neighbours(rival: ModuleType, seed: int) -> None:
    table, running = live(seed)
    seen = view(service=(10.0, 500.0, 3.0))
    before = scores(rival, table, running, seen)
    shuffled = np.random.default_rng(seed).permutation(len(table))
    again = scores(rival, table[shuffled].view(np.recarray), running[shuffled], seen)
    assert np.isfinite(before).all()
    np.testing.assert_array_equal(again, before[shuffled])
    assert isinstance(rival.PREEMPTIVE, bool)


@given(seeds)
def test_seniority_follows_arrival_within_one(seed: int) -> None:
    table = requests(50, arrival_s=NOW_S - np.random.default_rng(seed).uniform(0.0, 3600.0, 50))
    values = np.array([seniority(table, row, view()) for row in range(50)])
    assert (np.argsort(-values) == np.argsort(table.arrival_s)).all()
    assert values.min() >= 0.0
    assert values.max() < 1.0


def test_shared_quantities_written_out() -> None:
    table = requests(prompt_tokens=100, lost_tokens=70, computed_tokens=60, admitted_s=NOW_S - 4.0)
    assert out_of_service_s(table, 0, view()) == 4.0
    spoken(table, 0, [NOW_S - 3.0, NOW_S - 1.0])
    seen = view(token_latency_s=0.5, resume_s_per_token=0.01)
    assert out_of_service_s(table, 0, seen) == 1.0
    assert prefill_left_s(table, 0, seen) == pytest.approx((102 - 60 - 1) * 0.01)
    assert attained_s(table, 0, seen) == pytest.approx(128 * 0.01 + 2 * 0.5)


def test_round_robin_rotates() -> None:
    """In turn, then waiting by wait, then those whose turn is over: with 20 ms iterations a turn is one second."""
    admitted_s = [NOW_S - 0.9, NOW_S - 0.1, NOW_S - 1.1, NOW_S - 5.0, math.nan, math.nan]
    table = requests(6, admitted_s=admitted_s, arrival_s=[80.0, 80.0, 80.0, 80.0, 99.0, 97.0])
    running = np.array([True] * 4 + [False] * 2)
    assert order(round_robin, table, running, view()) == [1, 0, 5, 4, 2, 3]
    assert order(round_robin, table, running, view(token_latency_s=0.03)) == [
        1,
        0,
        2,
        5,
        4,
        3,
    ]  # a turn is 50 iterations


@given(seeds)
def test_round_robin_never_preempts_within_the_quantum(seed: int) -> None:
    table, running = live(seed)
    held_s = NOW_S - table.admitted_s
    in_turn = running & (held_s < round_robin.QUANTUM_ITERATIONS * 0.02)
    over = running & ~in_turn
    values = scores(round_robin, table, running, view())
    assert values[in_turn].min(initial=np.inf) > values[~in_turn].max(initial=-np.inf)
    assert values[over].max(initial=-np.inf) <= values[~running].min(initial=np.inf)


def test_least_qoe_first() -> None:
    table = requests(4)
    for row, start_s in enumerate(
        [91.0, 93.0, 96.0]
    ):  # the fourth still has nothing, 9 s after its first token was due
        spoken(table, row, list(start_s + 0.2 * np.arange(100)))
    assert order(least_qoe, table, np.array([True] * 3 + [False]), view()) == [3, 2, 1, 0]


@given(seeds)
def test_least_qoe_orders_by_qoe(seed: int) -> None:
    table, running = live(seed)
    qoe = [best_case_qoe(table, row, table.emitted_tokens[row] + 1, NOW_S) for row in range(len(table))]
    assert order(least_qoe, table, running, view()) == np.argsort(qoe, kind="stable").tolist()


@given(seeds)
def test_least_slack_orders_by_when_the_reader_runs_out(seed: int) -> None:
    table, running = live(seed)
    due_s = [next_due_s(table, row) for row in range(len(table))]
    assert order(least_slack, table, running, view()) == np.argsort(due_s, kind="stable").tolist()


@given(seeds)
def test_deadline_is_slack_plus_the_lag_suffered(seed: int) -> None:
    table, running = live(seed)
    suffered_s = np.maximum(table.lateness_s, 0.0)
    slack, edf = scores(least_slack, table, running, view()), scores(deadline, table, running, view())
    np.testing.assert_allclose(edf, slack + suffered_s, rtol=0, atol=1e-9)
    on_time = suffered_s == 0.0
    assert (np.argsort(-edf[on_time], kind="stable") == np.argsort(-slack[on_time], kind="stable")).all()


def test_deadline_and_slack_part_after_a_lag() -> None:
    """One reader was kept waiting for 6 s and has text again, another is about to run out."""
    table = requests(2)
    spoken(table, 0, [97.0, 97.1, 97.2, 97.3, 97.4, *([97.5] * 15)])  # due from 91 s, reads to 101 s
    spoken(table, 1, [91.0] * 46)  # reads to 100.2 s
    running = np.array([True, True])
    assert order(deadline, table, running, view()) == [0, 1]
    assert order(least_slack, table, running, view()) == [1, 0]


def buffered(seconds: float, context: int = 1000) -> Requests:
    """A running request whose reader has `seconds` of text left."""
    table = requests(prompt_tokens=context - 20, arrival_s=NOW_S - 1.0 - 4.0 + seconds)
    spoken(table, 0, [table.arrival_s[0] + 0.5] * 20)
    table.computed_tokens[0] = context - 1
    return table


@pytest.mark.parametrize(("seconds", "rank"), [(0.119, 3), (0.121, 1), (-5.0, 3), (30.0, 1)])
def test_tokenflow_evicts_only_what_covers_the_switch(seconds: float, rank: int) -> None:
    """1000 tokens at 0.1 ms and an iteration of 20 ms: a switch takes 0.12 s."""
    table = buffered(seconds)
    assert buffer_aware.buffered_s(table, 0, NOW_S) == pytest.approx(seconds)
    assert buffer_aware.switch_s(table, 0, view()) == pytest.approx(0.12)
    assert rank_of(table, True) == rank


@pytest.mark.parametrize(("seconds", "rank"), [(0.118, 2), (0.121, 0)])
def test_tokenflow_loads_before_the_reader_starves(seconds: float, rank: int) -> None:
    table = buffered(seconds)
    table.computed_tokens[0] = 0
    assert rank_of(table, False) == rank


def rank_of(table: Requests, is_running: bool) -> int:
    value = buffer_aware.score(table, 0, is_running, view()) + buffer_aware.buffered_s(table, 0, NOW_S)
    return round(value / buffer_aware.RANK_S)


def test_tokenflow_treats_a_newcomer_as_starving() -> None:
    table = requests(ttft_s=60.0)
    assert buffer_aware.buffered_s(table, 0, NOW_S) == 0.0
    assert rank_of(table, False) == 2


@given(seeds)
def test_tokenflow_prefers_the_starving_within_a_rank(seed: int) -> None:
    table, running = live(seed)
    left_s = np.array([buffer_aware.buffered_s(table, row, NOW_S) for row in range(len(table))])
    values = scores(buffer_aware, table, running, view())
    ranks = np.round((values + left_s) / buffer_aware.RANK_S)
    starving = ~running & (left_s < 0.0)
    assert (ranks[starving] == 2).all()
    for rank in range(4):
        same = ranks == rank
        assert (np.argsort(-values[same], kind="stable") == np.argsort(left_s[same], kind="stable")).all()
