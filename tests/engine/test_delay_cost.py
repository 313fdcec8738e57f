"""The gain of Andes: its closed form against timelines written out, and how it moves with a request's age."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.qoe import headline_qoe
from andes_engine.request import deliver
from andes_engine.request_table import RequestTable
from andes_engine.schedulers.andes import Standing, delay_cost, mean_overdue, standing

pace = st.floats(0.05, 0.5)
tokens = st.integers(1, 60)


def fresh(ttft_s: float, latency_s: float, delivery_s: list[float] | np.ndarray = ()) -> Standing:
    table = RequestTable(capacity=1)
    row = table.add("r", 0.0, 100, ttft_s, latency_s)
    for time_s in delivery_s:
        deliver(table.rows, row, time_s)
    return standing(table.rows, row)


def projected(past: list[float], first_s: float, step_s: float, count: int, ttft_s: float, latency_s: float) -> float:
    """QoE of what was delivered and `count` more tokens from `first_s` on."""
    return headline_qoe([*past, *(first_s + step_s * np.arange(count))], ttft_s, latency_s)


@given(tokens, pace, st.floats(0.0, 1.0), st.floats(0.0, 40.0), st.floats(0.0, 40.0), st.floats(0.0, 5.0))
def test_equals_the_projection_for_a_fresh_request(
    ahead: int, latency_s: float, speed: float, start_s: float, delay_s: float, ttft_s: float
) -> None:
    reader = fresh(ttft_s, latency_s)
    step_s = latency_s * speed  # at most the reader's pace: the drift is <= 0
    expectation = ahead, ttft_s, latency_s
    gain = projected([], start_s, step_s, *expectation) - projected([], start_s + delay_s, step_s, *expectation)
    cost = delay_cost(reader, start_s, delay_s, step_s, ahead * latency_s, 1.0)
    assert cost == pytest.approx(gain, abs=1e-9)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20), tokens, pace, st.floats(0.0, 20.0), st.floats(0.0, 20.0))
def test_equals_the_projection_in_mid_response(
    gaps_s: list[float], ahead: int, latency_s: float, wait_s: float, delay_s: float
) -> None:
    past = np.cumsum(gaps_s)
    reader = fresh(1.0, latency_s, past)
    start_s = past[-1] + wait_s
    gain = projected(past, start_s, 0.0, ahead, 1.0, latency_s) - projected(
        past, start_s + delay_s, 0.0, ahead, 1.0, latency_s
    )
    cost = delay_cost(reader, start_s, delay_s, 0.0, ahead * latency_s, 1.0)
    assert cost == pytest.approx(gain, abs=1e-9)


@given(st.floats(-20.0, 20.0), st.floats(-0.2, 1.0), st.integers(1, 200))
def test_mean_overdue_equals_the_sum_up_to_discretisation(first_s: float, drift_s: float, count: int) -> None:
    lag = np.maximum.accumulate(np.maximum(first_s + drift_s * np.arange(count), 0.0))
    assert mean_overdue(first_s, drift_s, float(count)) == pytest.approx(lag.mean(), abs=abs(drift_s) + 1e-9)


@given(
    st.floats(0.0, 60.0), st.floats(0.0, 30.0), pace, st.floats(0.0, 2.0), st.floats(1.0, 100.0), st.floats(0.0, 1.0)
)
def test_within_zero_and_one_and_rising_with_the_delay(
    start_s: float, delay_s: float, latency_s: float, step_s: float, horizon_s: float, sunk: float
) -> None:
    reader = fresh(1.0, latency_s)
    cost = delay_cost(reader, start_s, delay_s, step_s, horizon_s, sunk)
    assert -1e-12 <= cost <= 1.0
    assert delay_cost(reader, start_s, delay_s + 1.0, step_s, horizon_s, sunk) >= cost - 1e-12
    assert delay_cost(reader, start_s, 0.0, step_s, horizon_s, sunk) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(0.0, 120.0), st.floats(0.0, 60.0), st.floats(1.0, 100.0), pace, st.floats(0.0, 3.0))
def test_gain_never_falls_with_age_by_default(
    start_s: float, older_s: float, horizon_s: float, latency_s: float, speed: float
) -> None:
    reader = fresh(1.0, latency_s)
    cost = [delay_cost(reader, s, horizon_s, speed * latency_s, horizon_s, 0.0) for s in (start_s, start_s + older_s)]
    assert cost[1] >= cost[0] - 1e-12


def test_gain_falls_with_age_if_sunk_lag_counts() -> None:
    """The contrast: the plain difference of QoE gives up on the late, as the authors' published code does."""
    reader = fresh(1.0, 0.2)
    gain = {w: [delay_cost(reader, age, 10.0, 0.05, 10.0, w) for age in (1.0, 11.0, 31.0)] for w in (0.0, 1.0)}
    assert gain[0.0] == pytest.approx([gain[0.0][0]] * 3)
    assert gain[1.0][0] > 2 * gain[1.0][1] > 4 * gain[1.0][2]


def test_a_full_buffer_makes_waiting_free() -> None:
    reader = fresh(1.0, 0.2, np.full(100, 0.5))  # 20 s of text in the reader's hands
    assert delay_cost(reader, 1.0, 10.0, 0.05, 10.0, 0.0) == 0.0
    assert delay_cost(reader, 1.0, 40.0, 0.05, 10.0, 0.0) > 0.0
