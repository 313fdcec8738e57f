"""Metrics of a run against their definitions in METRICS.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from andes_engine.errors import UnknownNameError
from andes_engine.metrics import HEADLINE, METRICS, metric, summarize
from andes_engine.qoe import reader_lag
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.sim.simulator import simulate
from andes_engine.workload import Workload
from tests.builders import make_engine, tiny_workload

PAGE = Path(__file__).parents[2] / "METRICS.md"


def recorded(token_s: list[list[float]], workload: Workload | None = None, duration_s: float = 10.0) -> RunRecord:
    times = [np.array(times) for times in token_s]
    preemptions = np.array([0, 3])
    run = {"duration_s": duration_s, "prefill_tokens": 10}
    return record_from_tokens(workload or tiny_workload(), "e", "s", times, preemptions, **run)


def test_by_hand() -> None:
    """Two requests of 3 tokens at .2 s/token, arriving at 0 and 1; the second starts 2 s late."""
    values = summarize(recorded([[0.5, 0.6, 0.7], [4.0, 4.2, 4.4]]))
    late = 0.3 / (0.3 + 2.0)
    assert values["qoe_mean"] == pytest.approx((1.0 + late) / 2)
    assert values["qoe_mean_lower"] == pytest.approx(values["qoe_mean"])
    assert values["qoe_p10"] == pytest.approx(late + 0.1 * (1.0 - late))
    assert values["qoe_p5"] == pytest.approx(late + 0.05 * (1.0 - late))
    assert values["qoe_share_95"] == 0.5
    assert values["late_share"] == 0.0
    assert (values["ttft_p50_s"], values["ttft_max_s"]) == pytest.approx((1.75, 3.0))
    assert values["ttft_p90_s"] == pytest.approx(0.5 + 0.9 * 2.5)
    assert values["tpot_p50_s"] == pytest.approx(0.15)
    assert values["preemptions_per_request"] == 1.5
    assert values["tokens_per_s"] == pytest.approx(0.6)
    assert values["unfinished"] == 0


def test_unfinished_and_unstarted_requests() -> None:
    record = recorded([[0.5, 0.6], []])
    values = summarize(record)
    assert values["unfinished"] == 2
    assert values["qoe_mean_lower"] == 0.0
    assert 0.0 < values["qoe_mean"] < 1.0
    assert (values["ttft_max_s"], values["tokens_per_s"]) == pytest.approx((0.5, 0.2))
    assert np.isnan(values["tpot_p50_s"])
    nothing = summarize(recorded([[], []]))
    assert np.isnan(nothing["ttft_p50_s"])


def test_mean_lag_is_recovered_from_the_qoe(overload: Workload) -> None:
    record = simulate(make_engine(), overload, "fcfs", token_log=True)
    lag = [
        reader_lag(token_s - overload.arrival_s[row], overload.ttft_s[row], overload.latency_s[row]).mean()
        for row, token_s in enumerate(record.token_s)
    ]
    assert record.lateness_s == pytest.approx(lag, abs=1e-6)
    assert summarize(record)["late_share"] == np.mean(np.array(lag) > 60.0)


def test_token_times_must_match_the_workload() -> None:
    with pytest.raises(ValueError, match="token times of 2 requests"):
        recorded([[0.5]])


def test_every_metric_is_computed_and_on_the_page() -> None:
    computed = summarize(recorded([[0.5, 0.6, 0.7], [4.0, 4.2, 4.4]]))
    described = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", PAGE.read_text(), flags=re.MULTILINE))))
    assert {entry.key for entry in METRICS} <= set(computed)
    assert described == set(computed)
    assert all(metric(key).key == key for key in HEADLINE)
    with pytest.raises(UnknownNameError, match="Did you mean 'qoe_mean'"):
        metric("qoe_means")
