"""The three QoE forms and the incremental tracker, against vectors worked out apart from this code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import InvalidTimelineError
from andes_engine.qoe import headline_qoe, qoe_area, qoe_authors_code, reader_lag
from andes_engine.request import best_case_qoe, deliver, next_due_s, qoe_so_far
from andes_engine.request_table import RequestTable

VECTORS = json.loads((Path(__file__).parent / "qoe_vectors.json").read_text())
DEFINED = [vector for vector in VECTORS if vector["headline"] is not None]

gaps = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40)
ttft = st.floats(0.0, 5.0)
pace = st.floats(0.05, 2.0)


def tracked(delivery_s: list[float], ttft_s: float, latency_s: float, arrival_s: float = 0.0) -> float:
    """QoE as a scheduler keeps it, token by token."""
    table = RequestTable(capacity=2)
    row = table.add("r", arrival_s, 10, ttft_s, latency_s)
    for time_s in delivery_s:
        deliver(table.rows, row, arrival_s + time_s)
    return qoe_so_far(table.rows, row)


def test_all_vectors_are_here() -> None:
    assert [vector["id"] for vector in VECTORS] == [f"V{number:02d}" for number in range(1, 25)]
    assert len(DEFINED) == 23


@pytest.mark.parametrize("vector", DEFINED, ids=lambda vector: vector["id"])
def test_vector(vector: dict) -> None:
    timeline = vector["delivery_s"], vector["ttft_s"], vector["latency_s"]
    assert headline_qoe(*timeline) == pytest.approx(vector["headline"], abs=1e-9)
    assert qoe_area(*timeline) == pytest.approx(vector["area"], abs=1e-9)
    assert qoe_authors_code(*timeline) == pytest.approx(vector["authors_code"], abs=1e-9)
    assert tracked(*timeline) == pytest.approx(vector["headline"], abs=1e-9)
    assert tracked(*timeline, arrival_s=123.0) == pytest.approx(vector["headline"], abs=1e-9)


@pytest.mark.parametrize("form", [headline_qoe, qoe_area, qoe_authors_code])
@pytest.mark.parametrize(
    ("delivery_s", "ttft_s", "latency_s"),
    [
        ([], 1.0, 0.2),
        ([-0.1, 1.0], 1.0, 0.2),
        ([1.0, float("nan")], 1.0, 0.2),
        ([1.0, float("inf")], 1.0, 0.2),
        ([2.0, 1.0], 1.0, 0.2),
        ([[1.0, 2.0]], 1.0, 0.2),
        ([1.0], -1.0, 0.2),
        ([1.0], float("nan"), 0.2),
        ([1.0], 1.0, 0.0),
        ([1.0], 1.0, float("nan")),
    ],
)
def test_impossible_timelines_are_refused(form, delivery_s: list, ttft_s: float, latency_s: float) -> None:
    with pytest.raises(InvalidTimelineError):
        form(delivery_s, ttft_s, latency_s)


@given(gaps, ttft, pace)
def test_tracker_equals_the_whole_timeline(gaps_s: list[float], ttft_s: float, latency_s: float) -> None:
    delivery = np.cumsum(gaps_s)
    assert tracked(delivery, ttft_s, latency_s) == pytest.approx(headline_qoe(delivery, ttft_s, latency_s), abs=1e-9)


@given(gaps, ttft, pace)
def test_consumption_follows_its_definition(gaps_s: list[float], ttft_s: float, latency_s: float) -> None:
    delivery = np.cumsum(gaps_s)
    consumed, lag = delivery[0], []
    for index, delivered in enumerate(delivery):
        consumed = delivered if index == 0 else max(delivered, consumed + latency_s)
        lag.append(max(consumed - ttft_s - index * latency_s, 0.0))
    assert reader_lag(delivery, ttft_s, latency_s) == pytest.approx(lag, abs=1e-9)


@given(gaps, ttft, pace, st.data())
def test_delaying_a_token_never_raises_the_headline(
    gaps_s: list[float], ttft_s: float, latency_s: float, data: st.DataObject
) -> None:
    delivery = np.cumsum(gaps_s)
    token = data.draw(st.integers(0, len(delivery) - 1))
    later = delivery.copy()
    later[token:] = np.maximum(later[token:], later[token] + data.draw(st.floats(0.0, 20.0)))
    assert headline_qoe(later, ttft_s, latency_s) <= headline_qoe(delivery, ttft_s, latency_s) + 1e-12


@given(st.floats(0.0, 60.0), st.integers(1, 500), pace)
def test_pure_start_delay_has_the_closed_form(delay_s: float, tokens: int, latency_s: float) -> None:
    delivery = 1.0 + delay_s + latency_s * np.arange(tokens)
    whole = tokens * latency_s / 2.0
    for form in (headline_qoe, qoe_area, qoe_authors_code):
        assert form(delivery, 1.0, latency_s) == pytest.approx(whole / (delay_s + whole), abs=1e-6)


@given(gaps, pace)
def test_best_case_never_rises_and_ends_at_the_qoe(gaps_s: list[float], latency_s: float) -> None:
    delivery = np.cumsum(gaps_s)
    table = RequestTable(capacity=1)
    row = table.add("r", 0.0, 10, 1.0, latency_s)
    values = [best_case_qoe(table.rows, row, len(delivery), 0.0)]
    for time_s in delivery:
        values.append(best_case_qoe(table.rows, row, len(delivery), time_s))
        deliver(table.rows, row, time_s)
        values.append(best_case_qoe(table.rows, row, len(delivery), time_s))
    assert values[0] == 1.0
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] == pytest.approx(headline_qoe(delivery, 1.0, latency_s), abs=1e-12)


@given(gaps, pace)
def test_next_due_time_is_where_lag_begins(gaps_s: list[float], latency_s: float) -> None:
    delivery = np.cumsum(gaps_s)
    table = RequestTable(capacity=1)
    row = table.add("r", 0.0, 10, 1.0, latency_s)
    for time_s in delivery:
        deliver(table.rows, row, time_s)
    due_s = max(next_due_s(table.rows, row), delivery[-1])
    lag = reader_lag([*delivery, due_s], 1.0, latency_s)
    later = reader_lag([*delivery, due_s + 1.0], 1.0, latency_s)
    assert later[-1] == pytest.approx(lag[-1] + 1.0, abs=1e-9)


def test_before_the_first_token() -> None:
    table = RequestTable(capacity=1)
    row = table.add("r", 5.0, 10, 1.0, 0.2)
    assert qoe_so_far(table.rows, row) == 1.0
    assert next_due_s(table.rows, row) == 6.0
    assert best_case_qoe(table.rows, row, 10, 5.5) == 1.0
    assert best_case_qoe(table.rows, row, 10, 8.0) == pytest.approx(1.0 / 3.0)
