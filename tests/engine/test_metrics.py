"""Metrics of a run against their definitions in METRICS.md."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import UnknownNameError
from andes_engine.knobs import Knobs
from andes_engine.metrics import HEADLINE, METRICS, PERFECT, metric, summarize
from andes_engine.older_qoe import qoe_area_of, qoe_authors_code_of
from andes_engine.qoe import qoe_area, qoe_authors_code, reader_lag
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.sim.simulator import DRAIN, Simulator, simulate
from andes_engine.workload import Workload
from andes_engine.workload.prefix import growing_prompts
from tests.builders import make_engine, make_workload, tiny_workload

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


def test_pace_by_hand() -> None:
    """Three tokens in .2 s are 10 tokens/s, three in .4 s are 5."""
    values = summarize(recorded([[0.5, 0.6, 0.7], [4.0, 4.2, 4.4]]))
    assert values["ttft_mean_s"] == pytest.approx(1.75)
    assert (values["tds_mean"], values["tds_p50"], values["tds_p10"]) == pytest.approx((7.5, 7.5, 5.5))
    at_once = summarize(recorded([[0.5, 0.5, 0.5], [4.0, 4.2, 4.4]]))
    assert at_once["tds_mean"] == pytest.approx(5.0)
    assert np.isnan(summarize(recorded([[0.5, 0.6], []]))["tds_mean"])


def test_older_forms_by_hand() -> None:
    """The second starts 2 s late: G = 6, E - T = 3 * .2 + 2, S = 3 * (2 * 2.6 - .6) / 2 = 6.9."""
    values = summarize(recorded([[0.5, 0.6, 0.7], [4.0, 4.2, 4.4]]))
    expected = (1.0 + 1.0 - 6.0 / 6.9) / 2
    assert (values["qoe_area_mean"], values["qoe_authors_mean"]) == pytest.approx((expected, expected))


def test_shares_count_what_reaches_the_mark() -> None:
    record = recorded([[0.5, 0.6, 0.7], [4.0, 4.2, 4.4]])
    for qoe, shares in {
        (0.9, 0.95): (1.0, 0.5, 0.0),
        (PERFECT, 0.8): (0.5, 0.5, 0.5),
        (1.0, 0.9499): (1, 0.5, 0.5),
    }.items():
        values = summarize(replace(record, qoe=np.array(qoe)))
        assert (values["qoe_share_90"], values["qoe_share_95"], values["perfect_share"]) == shares


@given(st.integers(0, 2**32 - 1), st.sampled_from(["all", "cut", "left"]))
def test_older_forms_are_those_of_one_response_at_a_time(seed: int, ending: str) -> None:
    rng = np.random.default_rng(seed)
    tokens, arrival_s = rng.integers(1, 9, 5), np.sort(rng.uniform(0.0, 9.0, 5))
    abort_s = arrival_s + (rng.exponential(2.0, 5) if ending == "left" else np.inf)
    asked = Workload("w", arrival_s, tokens, tokens, rng.uniform(0, 2, 5), rng.uniform(0.1, 0.4, 5), abort_s=abort_s)
    whole = [arrival_s[row] + np.cumsum(rng.exponential(0.5, tokens[row])) for row in range(5)]
    cut_s = np.minimum(9.5, abort_s) if ending != "all" else np.full(5, np.inf)
    came = [times[times <= cut_s[row]] for row, times in enumerate(whole)]
    record = record_from_tokens(asked, "e", "s", came, np.zeros(5, int), duration_s=9.5, prefill_tokens=0)
    for form, one in ((qoe_area_of, qoe_area), (qoe_authors_code_of, qoe_authors_code)):
        by_hand = [
            one(
                np.append(times, np.full(tokens[row] - len(times), cut_s[row])) - arrival_s[row],
                asked.ttft_s[row],
                asked.latency_s[row],
            )
            for row, times in enumerate(came)
        ]
        np.testing.assert_allclose(form(record), by_hand, rtol=1e-9, atol=1e-9)


def test_older_forms_need_token_times(overload: Workload) -> None:
    record = simulate(make_engine(), overload.head(40), "fcfs")
    assert np.isnan([summarize(record)[key] for key in ("qoe_area_mean", "qoe_authors_mean")]).all()


def test_recomputed_is_nothing_without_preemption_and_what_was_lost_with_it(overload: Workload) -> None:
    calm = simulate(make_engine(), make_workload(3, 60, 1.0), "fcfs")
    assert (calm.preemptions.sum(), summarize(calm)["recomputed_per_request"]) == (0, 0.0)
    simulator = Simulator([make_engine()], len(overload))
    simulator.reset(0, overload, "andes", Knobs())
    simulator.advance(DRAIN)
    record = simulator.record(0, "andes")
    lost = simulator.of(0).table["lost_tokens"][: len(overload)].sum()
    recomputed = summarize(record)["recomputed_per_request"] * len(overload)
    assert lost <= recomputed <= lost + record.preemptions.sum(), "the token to go on with may be prefilled too"


def test_recomputed_is_unknown_where_a_record_cannot_tell(overload: Workload) -> None:
    record = simulate(make_engine(), overload, "fcfs")
    opens = np.ones(len(overload), dtype=bool)
    shared = replace(overload, block_hashes=growing_prompts(overload.prompt_tokens, opens))
    cut = simulate(make_engine(), overload, "fcfs", until_s=10.0)
    untold = replace(record, prefill_tokens=np.nan)
    for unclear in (replace(record, workload=shared), cut, untold):
        assert np.isnan(summarize(unclear)["recomputed_per_request"])


def test_peak_queue_by_hand() -> None:
    """Three wait at 2; the reader of the second leaves as the fourth comes; the last comes after the end of the run."""
    n, first = np.ones(5, dtype=int), np.array([5.0, np.nan, 3.0, 7.0, np.nan])
    abort_s = np.array([np.inf, 2.5, np.inf, np.inf, np.inf])
    asked = Workload("w", np.array([0.0, 1.0, 2.0, 2.5, 20.0]), n, n, n.astype(float), n * 0.2, abort_s=abort_s)
    record = RunRecord(asked, "e", "s", n * 1.0, n * 1.0, first, first, n, n * 0, 10.0, 5)
    assert summarize(record)["peak_queue"] == 3
    assert summarize(replace(record, duration_s=30.0, first_token_s=np.full(5, np.nan)))["peak_queue"] == 4


@given(st.integers(0, 2**32 - 1))
def test_peak_queue_is_the_most_that_wait_at_any_arrival(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    arrival_s = np.sort(rng.integers(0, 9, count)).astype(float)
    first = np.where(rng.random(count) < 0.8, arrival_s + rng.integers(0, 6, count), np.nan)
    abort_s = np.where(rng.random(count) < 0.3, arrival_s + rng.integers(0, 6, count), np.inf)
    n = np.ones(count, dtype=int)
    asked = Workload("w", arrival_s, n, n, n * 1.0, n * 0.2, abort_s=abort_s)
    record = RunRecord(asked, "e", "s", n * 1.0, n * 1.0, first, first, n, n * 0, 8.0, 5)
    end_s = np.where(np.isnan(first), abort_s, first)
    waiting = [((arrival_s <= now) & (end_s > now)).sum() for now in arrival_s if now <= 8.0]
    assert summarize(record)["peak_queue"] == max(waiting, default=0)


def test_jain_by_hand() -> None:
    """Users 3 and 7 with mean QoE .5 and 1: 1.5^2 / (2 * 1.25) = .9."""
    asked = make_workload(1, 3, 1.0)
    record = simulate(make_engine(), replace(asked, user=np.array([3, 3, 7])), "fcfs")
    assert summarize(replace(record, qoe=np.array([0.25, 0.75, 1.0])))["jain_users"] == pytest.approx(0.9)
    assert np.isnan(summarize(simulate(make_engine(), asked, "fcfs"))["jain_users"])


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=9), st.floats(0.1, 1.0))
def test_jain_lies_between_one_takes_all_and_all_alike(qoe: list[float], scale: float) -> None:
    n = np.ones(len(qoe), dtype=int)
    asked = Workload("w", n * 0.0, n, n, n * 1.0, n * 0.2, user=np.arange(len(qoe)))
    record = RunRecord(asked, "e", "s", np.array(qoe), n * 1.0, n * 1.0, n * 1.0, n, n * 0, 8.0, 5)
    index = summarize(record)["jain_users"]
    assert 1.0 / len(qoe) - 1e-9 <= index <= 1.0 + 1e-9
    assert summarize(replace(record, qoe=record.qoe * scale))["jain_users"] == pytest.approx(index)
    assert summarize(replace(record, qoe=n * scale))["jain_users"] == pytest.approx(1.0)
