"""The index: nothing at zero weights, and the order a weight asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from andes_engine import knobs as kn
from andes_engine.action import ACTION_SPACES, ActionSpec, action_names
from andes_engine.contender import Contender
from andes_engine.decision_buffers import empty_decision
from andes_engine.engine import EngineConfig
from andes_engine.knobs import INDEX_KNOBS, INDEX_NAMES, Knobs
from andes_engine.request import empty_requests
from andes_engine.request_index import AHEAD, EMITTED, REMAINING, SIZE, UNSEEN, feature, weigh
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import preset
from andes_engine.workload import Workload

ENGINE = EngineConfig("small", preset("rtx4090_llama3_8b"), kv_blocks=160, max_num_seqs=4)
REQUESTS = 40


def crowd(seed: int = 0) -> Workload:
    """Forty requests at once, alike but for the length of their answers."""
    rng = np.random.default_rng(seed)
    output = rng.permutation(np.linspace(20, 800, REQUESTS).astype(np.int64))
    same = np.full(REQUESTS, 100, dtype=np.int64)
    return Workload("crowd", np.linspace(0, 0.01, REQUESTS), same, output, np.ones(REQUESTS), np.full(REQUESTS, 0.02))


def mean_finish_s(knobs: dict[str, float], lengths: str) -> float:
    record = run_simulated(ENGINE, crowd(), Contender("c", "andes", knobs, lengths=lengths))
    return float(record.finish_s.mean())


def test_a_weight_on_what_remains_makes_shortest_remaining_first() -> None:
    """The policy of an index that learned it: with known lengths it ends requests sooner in the mean, and so near SRPT's."""
    plain = mean_finish_s({}, "exact")
    short_first = mean_finish_s({"index_remaining": -4.0, "preemption_cap": 0.25}, "exact")
    record = run_simulated(ENGINE, crowd(), Contender("srpt", "srpt", {"preemption_cap": 0.25}, lengths="exact"))
    best = float(record.finish_s.mean())
    assert short_first < plain - 0.5 * (plain - best)
    assert mean_finish_s({"index_remaining": 4.0, "preemption_cap": 0.25}, "exact") > short_first


def test_without_lengths_the_weight_of_what_remains_changes_nothing() -> None:
    weighted = run_simulated(ENGINE, crowd(), Contender("c", "andes", {"index_remaining": -4.0}))
    plain = run_simulated(ENGINE, crowd(), Contender("c", "andes"))
    assert np.array_equal(weighted.finish_s, plain.finish_s)


@pytest.mark.parametrize("name", INDEX_NAMES)
def test_every_weight_is_felt_and_stays_within_reason(name: str) -> None:
    """Extreme weights lose no request; every one of them moves something in an overload with preemptions."""
    lengths = "exact" if name == "index_remaining" else "none"
    knobs = {"preemption_budget": 4.0, "preemption_cap": 4.0, "stall_price": 0.0, "horizon_s": 60.0}
    workload = overload()
    runs = [
        run_simulated(ENGINE, workload, Contender("c", "andes", {**knobs, name: weight}, lengths=lengths))
        for weight in (-4.0, 0.0, 4.0)
    ]
    for run in runs:
        assert np.array_equal(run.emitted_tokens, workload.output_tokens)
    assert any(not np.array_equal(run.finish_s, runs[1].finish_s) for run in (runs[0], runs[2]))


def overload() -> Workload:
    rng = np.random.default_rng(3)
    arrival_s = np.cumsum(rng.exponential(0.15, 60))
    prompt, output = rng.integers(20, 600, 60), rng.integers(20, 400, 60)
    return Workload("overload", arrival_s, prompt, output, np.ones(60), rng.choice([0.1, 0.2, 0.4], 60))


def test_features_are_what_their_units_say() -> None:
    table = empty_requests(1)
    table.arrival_s[0], table.ttft_s[0], table.latency_s[0], table.prompt_tokens[0] = 10.0, 1.0, 0.2, 4096
    assert feature(SIZE, table, 0, 10.0, 0.0) == pytest.approx(0.5)
    assert feature(UNSEEN, table, 0, 10.0, 0.0) == 1.0
    assert feature(REMAINING, table, 0, 10.0, 0.0) == 0.0
    assert feature(AHEAD, table, 0, 10.0, 0.0) == pytest.approx(math.log1p(1.0) / 3.0)
    table.remaining_tokens[0] = 64.0
    assert feature(REMAINING, table, 0, 10.0, 0.0) == pytest.approx(-0.5)


@pytest.mark.parametrize("tokens", [1, 2, 100, 1023, 2047, 2048, 4095, 4096, 100_000])
def test_logarithms_that_are_looked_up_are_those_that_are_worked_out(tokens: int) -> None:
    table = empty_requests(1)
    table.prompt_tokens[0] = tokens
    assert feature(SIZE, table, 0, 0.0, 0.0) == math.log2(tokens / 1024.0) / 4.0
    table.emitted_tokens[0] = tokens
    assert feature(EMITTED, table, 0, 0.0, 0.0) == math.log2(1.0 + tokens) / 8.0


def test_a_factor_is_that_of_the_sum_of_weighted_features() -> None:
    rng, now_s, count = np.random.default_rng(7), 50.0, 60
    table, plan, vector = empty_requests(count), empty_decision(count, count), Knobs().vector.copy()
    table.arrival_s[:], table.ttft_s[:] = rng.uniform(0.0, now_s, count), 1.0
    table.latency_s[:], table.prompt_tokens[:] = rng.choice([0.1, 0.2], count), rng.integers(1, 9000, count)
    table.emitted_tokens[:], table.lateness_s[:] = rng.integers(0, 3, count) * 90, rng.uniform(-1.0, 9.0, count)
    table.preemptions[:], table.remaining_tokens[:] = (
        rng.integers(0, 3, count),
        rng.choice([np.nan, 30.0, 900.0], count),
    )
    table.level_tokens[:] = table.emitted_tokens
    plan.rows[:], plan.resume_s[:] = rng.permutation(count), rng.choice([0.01, 0.2, 3.0], count)
    assert not weigh(table, count, now_s, vector, plan)
    vector[kn.INDEX :] = rng.uniform(-3.0, 3.0, len(INDEX_KNOBS))
    assert weigh(table, count, now_s, vector, plan)
    for position, row in enumerate(plan.rows):
        values = [feature(kind, table, row, now_s, plan.resume_s[position]) for kind in range(len(INDEX_KNOBS))]
        assert plan.factor[position] == pytest.approx(math.exp(np.dot(vector[kn.INDEX :], values)), rel=1e-12)


def test_spaces_have_names() -> None:
    assert ActionSpec(("index",)).names == INDEX_NAMES == tuple(entry.name for entry in INDEX_KNOBS)
    assert ActionSpec(("both",)).names == ACTION_SPACES["knobs"] + INDEX_NAMES
    assert action_names(["horizon_s", "index"]) == ("horizon_s", *INDEX_NAMES)
    spec = ActionSpec(("index",))
    assert np.array_equal(spec.knob_vector(np.zeros(spec.size)), spec.knobs.vector)
    assert spec.knob_vector(np.ones(spec.size))[kn.INDEX :] == pytest.approx([entry.high for entry in INDEX_KNOBS])
