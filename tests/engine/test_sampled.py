"""A run that is looked at on the way is the run that is not."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from andes_engine import counters as ct
from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.errors import AndesError
from andes_engine.knobs import KNOB_NAMES
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from andes_engine.records import RunRecord
from andes_engine.sim import state as st
from andes_engine.sim.run import run_simulated
from andes_engine.sim.sampled import run_sampled
from andes_engine.sim.simulator import Simulator
from tests.builders import make_engine, make_workload

ENGINE = make_engine(300)
KNOBS = ("kv_watermark", "batch_cap")


def policy() -> Bundle:
    rng = np.random.default_rng(0)
    weight = rng.normal(0.0, 0.5, (len(KNOBS), OBSERVATION_SIZE)).astype(np.float32)
    return Bundle("policy", ((weight, np.zeros(len(KNOBS), np.float32)),), ActionSpec(KNOBS), 2.0)


CONTENDERS = {
    "fcfs": Contender("fcfs", "fcfs"),
    "andes": Contender("andes"),
    "vtc": Contender("vtc", "vtc"),
    "own": Contender("own", "tests.own_score.shortest_context"),
    "policy": Contender("policy", bundle=policy()),
}


def assert_same(one: RunRecord, two: RunRecord) -> None:
    for entry in fields(RunRecord):
        mine, theirs = getattr(one, entry.name), getattr(two, entry.name)
        if entry.name == "token_s":
            assert all(np.array_equal(left, right) for left, right in zip(mine, theirs, strict=True))
        elif isinstance(mine, np.ndarray):
            assert np.array_equal(mine, theirs, equal_nan=True), entry.name
        else:
            assert mine == theirs, entry.name


@pytest.mark.parametrize("every_s", [0.3, 7.0])
@pytest.mark.parametrize("name", CONTENDERS)
def test_the_outcome_is_that_of_an_unsampled_run(name: str, every_s: float) -> None:
    workload = make_workload(3, 120, 12.0)
    plain = run_simulated(ENGINE, workload, CONTENDERS[name], token_log=True)
    sampled, samples = run_sampled(ENGINE, workload, CONTENDERS[name], every_s)
    assert_same(sampled, plain)
    assert len(samples.at_s) > plain.duration_s / every_s
    assert samples.preemptions[-1] <= plain.preemptions.sum()


@pytest.mark.parametrize("name", ["fcfs", "andes", "policy"])
def test_also_with_a_prefix_cache_and_readers_who_leave(name: str) -> None:
    workload = make_workload(4, 120, 12.0)
    workload = replace(workload, abort_s=workload.arrival_s + np.where(np.arange(120) % 5 == 0, 2.0, np.inf))
    engine = make_engine(300, prefix_caching=True)
    plain = run_simulated(engine, workload, CONTENDERS[name], token_log=True)
    assert plain.notes["aborted"] > 0
    assert_same(run_sampled(engine, workload, CONTENDERS[name], 0.7)[0], plain)


def test_samples_are_what_the_simulator_has_at_these_times() -> None:
    workload = make_workload(3, 120, 12.0)
    _, samples = run_sampled(ENGINE, workload, CONTENDERS["andes"], 1.5)
    simulator = Simulator([ENGINE], len(workload), users=1)
    simulator.reset(0, workload, "andes", CONTENDERS["andes"].start_knobs)
    simulator.advance(6.0)
    assert samples.at_s[4] == 6.0
    assert samples.preemptions[4] == simulator.engines.counters[0, ct.PREEMPTIONS] > 0
    mine = simulator.of(0)
    running = mine.running[: samples.running[4]]
    held = int((-(-mine.table["computed_tokens"][running] // ENGINE.block_size_tokens)).sum())
    assert ENGINE.kv_blocks - samples.free_blocks[4] == held
    left = int(np.isfinite(mine.finish_s).sum())
    assert samples.running[4] + samples.waiting[4] == mine.registers[st.R_NEXT_ARRIVAL] - left
    assert (np.diff(samples.preemptions) >= 0).all()
    assert samples.kv_used.max() <= 1.0 and samples.kv_used[0] == 0.0


def test_knobs_are_those_the_policy_has_set() -> None:
    workload = make_workload(3, 120, 12.0)
    _, samples = run_sampled(ENGINE, workload, CONTENDERS["policy"], 0.5)
    changed_s = samples.at_s[np.flatnonzero(np.diff(samples.knob("kv_watermark")))]
    assert len(changed_s) > 3
    assert np.allclose(changed_s % 2.0, 0.0)  # a sample shows what was in force up to it
    others = [index for index, name in enumerate(KNOB_NAMES) if name not in KNOBS]
    assert np.array_equal(samples.knobs[:, others], np.tile(samples.knobs[0, others], (len(samples.at_s), 1)))


@pytest.mark.parametrize("every_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_interval_is_refused(every_s: float) -> None:
    with pytest.raises(AndesError, match="every_s"):
        run_sampled(ENGINE, make_workload(1, 5, 1.0), CONTENDERS["fcfs"], every_s)
