"""A stream of requests in chunks: the outcome of one whole run, in the memory of a chunk."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError, InvalidWorkloadError
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim.simulator import Simulator
from andes_engine.sim.stream import simulate_stream
from andes_engine.step_time import StepTime
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload
from tests.random_cases import any_case

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s", "user", "abort_s")


def part(workload: Workload, start: int, end: int) -> Workload:
    return Workload(workload.name, **{name: getattr(workload, name)[start:end] for name in COLUMNS})


def chunks(workload: Workload, size: int) -> Iterator[Workload]:
    for start in range(0, len(workload), size):
        yield part(workload, start, start + size)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_the_outcome_is_that_of_one_whole_run(scheduler: str, seed: int, size: int) -> None:
    case = any_case(seed, scheduler, requests=60)
    lengths = "hazard" if case.lengths == "noisy" else case.lengths  # the noisy source errs anew in each chunk
    engine = EngineConfig(
        **{name: getattr(case.engine, name) for name in EngineConfig.__dataclass_fields__ if name != "prefix_caching"}
    )
    simulator = Simulator([engine], len(case.workload), users=3)
    workload = part(case.workload, 0, len(case.workload))
    simulator.reset(0, workload, scheduler, case.knobs, lengths)
    simulator.advance(np.inf)
    whole = simulator.record(0, scheduler)
    records = list(simulate_stream(engine, chunks(workload, size), scheduler, case.knobs, lengths=lengths, users=3))
    arrival_s = np.concatenate([record.workload.arrival_s for record in records])
    order = np.argsort(arrival_s, kind="stable")
    assert np.array_equal(arrival_s[order], workload.arrival_s)
    for name in ("qoe", "qoe_lower", "first_token_s", "finish_s", "emitted_tokens", "preemptions"):
        streamed = np.concatenate([getattr(record, name) for record in records])[order]
        assert np.array_equal(streamed, getattr(whole, name), equal_nan=True), name
    assert records[-1].duration_s == whole.duration_s
    assert sum(record.prefill_tokens for record in records) == whole.prefill_tokens
    for name, count in whole.notes.items():
        assert sum(record.notes[name] for record in records) == count, name


def test_refusals() -> None:
    workload = make_workload(0, 20, 5.0)
    with pytest.raises(CapacityError, match="prefix_caching=False"):
        next(simulate_stream(make_engine(prefix_caching=True), [workload], "fcfs"))
    with pytest.raises(InvalidWorkloadError, match="back in time"):
        list(simulate_stream(make_engine(), [workload, workload], "fcfs"))
    assert list(simulate_stream(make_engine(), [], "fcfs")) == []


def tiny_requests(count: int, size: int) -> Iterator[Workload]:
    rng, start_s = np.random.default_rng(0), 0.0
    for _ in range(count // size):
        arrival_s = start_s + np.cumsum(rng.exponential(0.01, size))
        start_s, ones = float(arrival_s[-1]), np.ones(size)
        yield Workload("tiny", arrival_s, rng.integers(1, 20, size), rng.integers(1, 4, size), ones, ones)


def peak_bytes(count: int) -> int:
    engine = EngineConfig("fast", StepTime("fast", (0.002, 5e-6, 1e-8), (0.002, 1e-5, 6e-6, 1e-8, 0.0)), kv_blocks=500)
    tracemalloc.start()
    served = sum(len(record.qoe) for record in simulate_stream(engine, tiny_requests(count, 10_000), "andes"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert served == count
    return peak


@pytest.mark.slow
def test_a_million_requests_take_the_memory_of_a_few() -> None:
    peak_bytes(20_000)  # whatever is made once
    assert peak_bytes(1_000_000) < 1.2 * peak_bytes(50_000)
