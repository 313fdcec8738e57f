"""What defines the rivals that look at service instead of the reader: levels, fair shares, remaining work, first come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.schedulers import mlfq, sarathi, srpt, vtc
from andes_engine.schedulers.score_view import attained_s
from tests.scheduler_scenes import NOW_S, USERS, live, order, requests, spoken, view

seeds = st.integers(0, 10_000)


@pytest.mark.parametrize(("prefill_s", "level"), [(0.0, 0), (0.010, 0), (0.011, 1), (0.020, 1), (0.041, 3), (1e12, 31)])
def test_mlfq_enters_where_the_quantum_holds_the_prefill(prefill_s: float, level: int) -> None:
    assert mlfq.entry_level(prefill_s) == level


def test_mlfq_demotes_by_attained_service() -> None:
    """Entry at level 1 (quantum 20 ms); then 40, 80 ms more for each level down."""
    table = requests(prompt_tokens=150)
    spoken(table, 0, [NOW_S] * 10)
    levels = []
    for served_ms in (0, 19, 21, 59, 61, 139, 141):
        table.lost_tokens[0], table.emitted_tokens[0] = served_ms * 10, 0
        levels.append(mlfq.level_of(table, 0, view()))
    assert levels == [1, 1, 2, 2, 3, 3, 4]
    table.lost_tokens[0], table.emitted_tokens[0] = 151, 1  # 15 ms of prefill and an iteration of 20 ms
    assert mlfq.level_of(table, 0, view()) == 2


@given(seeds)
def test_mlfq_never_promotes_by_service(seed: int) -> None:
    table, _ = live(seed)
    before = [mlfq.level_of(table, row, view()) for row in range(len(table))]
    table.lost_tokens[:] += np.random.default_rng(seed).integers(0, 5000, len(table)).astype(np.int32)
    after = [mlfq.level_of(table, row, view()) for row in range(len(table))]
    assert all(b <= a for b, a in zip(before, after, strict=True))


def test_mlfq_promotes_the_starving_and_lets_them_stay() -> None:
    table = requests(2, prompt_tokens=[20_000, 10], arrival_s=[NOW_S - 2.9, NOW_S - 0.1])
    waiting, seen = np.array([False, False]), view()
    assert order(mlfq, table, waiting, seen) == [1, 0]
    table.arrival_s[0] = NOW_S - 3.0
    assert order(mlfq, table, waiting, seen) == [0, 1]
    table.admitted_s[0], table.preemptions[0] = NOW_S - 2.5, 1  # entry quantum of a 2 s prefill: 2.56 s
    assert order(mlfq, table, np.array([True, False]), seen) == [0, 1]
    table.admitted_s[0] = NOW_S - 2.6
    assert order(mlfq, table, np.array([True, False]), seen) == [1, 0]


@given(seeds)
def test_mlfq_is_fifo_within_a_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = requests(20, arrival_s=NOW_S - rng.uniform(0.0, 2.9, 20), prompt_tokens=50)
    assert order(mlfq, table, np.zeros(20, bool), view()) == np.argsort(table.arrival_s, kind="stable").tolist()


def test_vtc_charges_and_lifts() -> None:
    service = np.zeros(4)
    vtc.charge(service, 0, 100, 0)
    vtc.charge(service, 1, 20, 30)
    assert service.tolist() == [100.0, 80.0, 0.0, 0.0]
    waiting = requests(3, user=[0, 1, 2])
    vtc.lift(service, 2, waiting, np.array([0, 1]))
    assert service[2] == 80.0  # the least of those who wait
    vtc.lift(service, 0, waiting, np.array([1]))
    assert service[0] == 100.0  # never lowered
    vtc.lift(service, 3, waiting, np.zeros(0, np.int64))
    assert service[3] == 0.0  # nobody waits
    service[2] = 0.0
    vtc.lift(service, 2, waiting, np.array([0, 2]))
    assert service[2] == 0.0  # has one waiting already


@given(seeds)
def test_vtc_orders_by_counter_then_arrival(seed: int) -> None:
    table, running = live(seed)
    service = np.random.default_rng(seed).integers(0, 3, USERS) * 1e6
    expected = sorted(range(len(table)), key=lambda row: (service[table.user[row]], table.arrival_s[row]))
    assert order(vtc, table, running, view(service=tuple(service))) == expected


@given(seeds)
def test_vtc_keeps_backlogged_users_together(seed: int) -> None:
    """The paper's invariant: the gap stays within max(w_p longest input, w_q tokens of a batch), whatever the users ask for."""
    rng = np.random.default_rng(seed)
    batch_tokens, longest = 400, 150
    service, batch = np.zeros(USERS), list[list[int]]()  # of each running request: user, output tokens left, size
    bound = max(vtc.PREFILL_WEIGHT * longest, vtc.DECODE_WEIGHT * batch_tokens)
    table = requests(USERS, user=np.arange(USERS))
    asked = [(int(rng.integers(1, longest)), int(rng.integers(1, 100))) for _ in range(USERS)]
    for _ in range(600):
        while True:
            user = order(vtc, table, np.zeros(USERS, bool), view(service=tuple(service)))[0]
            prompt, output = asked[user]
            if sum(size for *_, size in batch) + prompt + output > batch_tokens:
                break
            batch.append([user, output, prompt + output])
            vtc.charge(service, user, prompt, 0)
            asked[user] = (int(rng.integers(1, longest)), int(rng.integers(1, 100)))
        for member in batch:
            vtc.charge(service, member[0], 0, 1)
            member[1] -= 1
        batch = [member for member in batch if member[1] > 0]
        assert np.ptp(service) <= bound
    assert service.min() > bound  # it has run for long enough to mean something


@given(seeds)
def test_srpt_orders_by_expected_work(seed: int) -> None:
    table, running = live(seed)
    table.remaining_tokens[:] = np.random.default_rng(seed).integers(1, 500, len(table))
    work_s = [
        max(table.prompt_tokens[row] + table.emitted_tokens[row] - table.computed_tokens[row] - 1, 0) * 1e-4
        + table.remaining_tokens[row] * 0.02
        for row in range(len(table))
    ]
    assert order(srpt, table, running, view()) == np.argsort(work_s, kind="stable").tolist()


@given(seeds)
def test_srpt_without_lengths_is_foreground_background(seed: int) -> None:
    table, running = live(seed)
    table.remaining_tokens[:] = np.nan
    attained = [attained_s(table, row, view()) for row in range(len(table))]
    assert order(srpt, table, running, view()) == np.argsort(attained, kind="stable").tolist()


def test_sarathi_is_first_come_first_served_with_small_chunks() -> None:
    table, running = live(1)
    assert order(sarathi, table, running, view()) == np.argsort(table.arrival_s, kind="stable").tolist()
    assert sarathi.TOKEN_BUDGET == 512
    assert not sarathi.PREEMPTIVE
