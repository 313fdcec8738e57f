"""Workloads, and the processes, lengths and readers they are made of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.random import default_rng

from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.arrivals import ArrivalProcess, CyclicBurst, Gamma, Poisson
from andes_engine.workload.lengths import LENGTHS, EmpiricalLengths, LogNormal, LogNormalLengths
from andes_engine.workload.readers import LISTENING, READING, TTFT, ReaderMix, TtftExpectation
from andes_engine.workload.workload import workload_of
from tests.builders import tiny_workload

PROCESSES = [Poisson(), Gamma(0.25), Gamma(4.0), CyclicBurst(60.0), CyclicBurst(100.0, 2.8, 0.3, offset_s=77.0)]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"arrival_s": []}, "no requests"),
        ({"arrival_s": [1.0, 0.0]}, "request 1: arrival_s = 0.0 must not go back"),
        ({"arrival_s": [-1.0, 0.0]}, "request 0: arrival_s = -1.0 must be >= 0"),
        ({"arrival_s": [0.0, float("nan")]}, "request 1: arrival_s = nan must be finite"),
        ({"prompt_tokens": [5, 0]}, "request 1: prompt_tokens = 0"),
        ({"prompt_tokens": [5, 2.5]}, "request 1: prompt_tokens = 2.5 must be a whole number"),
        ({"output_tokens": [-3, 3]}, "request 0: output_tokens = -3"),
        ({"output_tokens": [3.0, float("inf")]}, "request 1: output_tokens = inf"),
        ({"ttft_s": [1.0, -1.0]}, "ttft_s = -1.0"),
        ({"latency_s": [0.2, 0.0]}, "latency_s = 0.0"),
        ({"latency_s": [0.2]}, "shape"),
    ],
)
def test_impossible_workloads_are_refused(columns: dict, match: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=match):
        tiny_workload(**columns)


def test_workload_is_frozen_and_compared_by_content() -> None:
    workload = tiny_workload()
    assert workload == tiny_workload()
    assert hash(workload) == hash(tiny_workload())
    assert workload != tiny_workload(latency_s=[0.2, 0.21])
    with pytest.raises(ValueError, match="read-only"):
        workload.arrival_s[0] = 3.0


def test_views_of_a_workload() -> None:
    workload = tiny_workload(arrival_s=[2.0, 6.0])
    assert len(workload.head(1)) == 1
    assert workload.between(5.0, 9.0).arrival_s.tolist() == [1.0]
    assert workload.at_rate(1.0).arrival_s == pytest.approx([2.0 / 3.0, 2.0])
    assert workload.at_rate(1.0).rate == pytest.approx(1.0)
    for call in (lambda: workload.head(0), lambda: workload.between(7.0, 9.0), lambda: workload.at_rate(0.0)):
        with pytest.raises(InvalidWorkloadError):
            call()


def test_columns_in_any_order_are_sorted_by_arrival() -> None:
    columns = {"arrival_s": [3.0, 1.0, 1.0], "prompt_tokens": [1, 2, 3], "output_tokens": [1, 1, 1]}
    workload = workload_of("w", {**columns, "ttft_s": [1.0] * 3, "latency_s": [0.2] * 3})
    assert workload.prompt_tokens.tolist() == [2, 3, 1]


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_arrivals_are_sorted_in_range_and_at_the_mean_rate(process: ArrivalProcess) -> None:
    arrival_s = process.sample(default_rng(0), rate=5.0, duration_s=6000.0)
    assert (np.diff(arrival_s) >= 0).all()
    assert arrival_s[0] >= 0.0
    assert arrival_s[-1] < 6000.0
    assert len(arrival_s) == pytest.approx(30_000, rel=0.05)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_more_requests_do_not_move_the_first(process: ArrivalProcess) -> None:
    longer, shorter = (process.sample(default_rng(1), 5.0, duration_s) for duration_s in (300.0, 100.0))
    assert np.array_equal(longer[longer < 100.0], shorter)
    assert process.first(default_rng(1), 5.0, 50) == pytest.approx(longer[:50])


@pytest.mark.parametrize("shape", [0.25, 1.0, 4.0])
def test_gamma_coefficient_of_variation(shape: float) -> None:
    gaps = np.diff(Gamma(shape).sample(default_rng(0), 10.0, 5000.0))
    assert gaps.std() / gaps.mean() == pytest.approx(shape**-0.5, rel=0.04)


def test_cyclic_burst_has_its_two_rates() -> None:
    burst = CyclicBurst(period_s=100.0, intensity=2.0, duration_share=0.35)
    phase = burst.sample(default_rng(0), 20.0, 10_000.0) % 100.0
    peak = np.count_nonzero(phase < 35.0) / (0.35 * 10_000.0)
    assert peak == pytest.approx(40.0, rel=0.02)
    off_peak = np.count_nonzero(phase >= 35.0) / (0.65 * 10_000.0)
    assert off_peak == pytest.approx(20.0 * (1 - 0.7) / 0.65, rel=0.03)
    shifted = dataclasses.replace(burst, offset_s=35.0).sample(default_rng(0), 20.0, 10_000.0) % 100.0
    assert np.count_nonzero(shifted >= 65.0) / (0.35 * 10_000.0) == pytest.approx(40.0, rel=0.02)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Gamma(0.0), "shape"),
        (lambda: CyclicBurst(intensity=3.0, duration_share=0.35), "intensity = 3.0"),
        (lambda: CyclicBurst(intensity=0.5), "intensity = 0.5"),
        (lambda: CyclicBurst(duration_share=1.0), "duration_share"),
        (lambda: CyclicBurst(period_s=float("nan")), "period_s"),
        (lambda: CyclicBurst(offset_s=-1.0), "offset_s"),
        (lambda: Poisson().sample(default_rng(0), 0.0, 1.0), "rate = 0.0"),
        (lambda: Poisson().sample(default_rng(0), 1.0, float("inf")), "duration_s = inf"),
        (lambda: Poisson().sample(default_rng(0), 1e6, 1e6), "lower rate"),
        (lambda: Poisson().first(default_rng(0), 1.0, 0), "requests = 0"),
        (lambda: LogNormal(0.0, 1.0), "mean"),
        (lambda: LogNormal(10.0, -1.0), "std"),
        (lambda: LogNormal(10.0, 1.0, 5, 4), "low = 5"),
        (lambda: LogNormal(10.0, 1.0, 0, 4), "low = 0"),
        (lambda: LogNormalLengths(LogNormal(5, 1, 5, 9), LogNormal(5, 1, 5, 9), max_total=8), "max_total"),
        (lambda: EmpiricalLengths([], []), "need pairs"),
        (lambda: EmpiricalLengths([1, 2], [1]), "need pairs"),
        (lambda: EmpiricalLengths([1, 2], [0, 1]), ">= 1"),
        (lambda: ReaderMix((0.2, 0.3), (1.0,)), "2 paces"),
        (lambda: ReaderMix((0.0,)), "latency_s"),
        (lambda: ReaderMix((0.2,), (0.0,)), "share"),
        (lambda: TtftExpectation(-1.0), "floor_s"),
        (lambda: TtftExpectation(1.0, 0.0), "prompt_tokens_per_s"),
    ],
)
def test_impossible_parts_are_refused(make, match: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=match):
        make()


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_length_families_keep_their_moments(name: str) -> None:
    family = LENGTHS[name]
    prompt, output = family.sample(default_rng(0), 200_000)
    assert (prompt + output).max() <= family.max_total
    for tokens, wanted in ((prompt, family.prompt), (output, family.output)):
        assert tokens.min() >= wanted.low
        assert tokens.max() <= wanted.high
        assert tokens.mean() == pytest.approx(wanted.mean, rel=0.05)
        assert tokens.std() == pytest.approx(wanted.std, rel=0.55)  # clipping takes the far tail


def test_tiny_family_fits_a_context_of_512() -> None:
    prompt, output = LENGTHS["tiny"].sample(default_rng(0), 50_000)
    assert (prompt + output).max() <= 512


def test_empirical_lengths_resample_pairs() -> None:
    lengths = EmpiricalLengths([10, 20, 30], [1, 2, 3])
    prompt, output = lengths.sample(default_rng(0), 1000)
    assert (prompt == 10 * output).all()
    assert set(output) == {1, 2, 3}
    assert hash(lengths) == hash(EmpiricalLengths([10, 20, 30], [1, 2, 3]))
    assert lengths != EmpiricalLengths([10, 20, 31], [1, 2, 3])


def test_readers_and_expectations() -> None:
    assert READING.mean_tokens_per_s == pytest.approx(4.5, abs=0.01)
    assert LISTENING.mean_tokens_per_s == pytest.approx(3.3)
    drawn = READING.sample(default_rng(0), 50_000)
    assert np.mean(drawn == 0.230) == pytest.approx(0.5187, abs=0.01)
    assert TTFT["fixed"].of(np.array([1, 50_000])).tolist() == [1.0, 1.0]
    assert TTFT["prompt"].of(np.array([1, 50_000])).tolist() == [1.0, 10.0]
