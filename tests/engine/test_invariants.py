"""What a simulated engine conserves at any moment, whatever the scheduler, the knobs and the mechanisms in use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andes_engine.engine import EngineConfig
from andes_engine.knobs import KNOBS, Knobs
from andes_engine.qoe import headline_qoe
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim import state as st_
from andes_engine.sim.simulator import Simulator
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload
from tests.random_cases import any_case

schedulers = st.sampled_from(sorted(SCHEDULERS))


def any_knobs(seed: int) -> Knobs:
    """Any setting within the bounds; log knobs drawn by their logarithm, so low values occur."""
    rng = np.random.default_rng(seed)
    drawn = {
        k.name: np.exp(rng.uniform(*np.log([k.low, k.high]))) if k.log else rng.uniform(k.low, k.high) for k in KNOBS
    }
    return Knobs({k.name: min(max(drawn[k.name], k.low), k.high) for k in KNOBS})


def started(
    workload: Workload, scheduler: str = "andes", engine: EngineConfig | None = None, knobs: Knobs | None = None
) -> Simulator:
    engine = engine or make_engine()
    simulator = Simulator([engine], len(workload), token_log=int(workload.output_tokens.sum()))
    simulator.reset(0, workload, scheduler, knobs or Knobs())
    return simulator


def check_blocks(simulator: Simulator) -> None:
    """Free and held blocks add up, on the device and in host memory, and every queue holds each live request once."""
    mine, config = simulator.of(0), simulator.configs[0]
    registers, table = mine.registers, mine.table
    free = registers[st_.R_FREE_BLOCKS]
    running = mine.running[: registers[st_.R_RUNNING]].tolist()
    waiting = mine.waiting[: registers[st_.R_WAITING]].tolist()
    assert free >= 0
    if config.prefix_caching:
        users = mine.pool.users[1 : config.kv_blocks + 1]
        assert free + (users > 0).sum() == config.kv_blocks
        assert users.sum() == table.held_blocks.sum()
        held = [mine.pool.held[table.slot[row], : table.held_blocks[row]] for row in running]
        counts = np.bincount(np.concatenate([*held, [0]]).astype(int), minlength=config.kv_blocks + 1)[1:]
        assert np.array_equal(counts[: config.kv_blocks], users)
    else:
        assert free + table.held_blocks.sum() == config.kv_blocks
    assert registers[st_.R_HOST_FREE] >= 0
    assert registers[st_.R_HOST_FREE] + (table.host_tokens // config.block_size_tokens).sum() == config.host_kv_blocks
    arrived = np.arange(registers[st_.R_NEXT_ARRIVAL])
    live = set(arrived[table.emitted_tokens[arrived] < mine.output_tokens[arrived]].tolist())
    left = live - set(running + waiting)
    assert len(set(running + waiting)) == len(running) + len(waiting)
    assert set(running + waiting) <= live
    assert len(left) == simulator.record(0, "").notes["aborted"]
    assert all(mine.abort_s[row] <= mine.now_s[0] for row in left)
    assert (table.emitted_tokens <= mine.output_tokens).all()
    assert (table.computed_tokens <= table.prompt_tokens + table.emitted_tokens).all()
    assert (table.held_blocks[waiting] == 0).all()
    assert (table.host_tokens[running] == 0).all()


@settings(max_examples=100)
@given(st.integers(0, 1000), schedulers, st.floats(0.5, 30.0), st.integers(70, 600), st.floats(0.1, 30.0))
def test_invariants_at_random_moments(seed: int, name: str, rate: float, blocks: int, slice_s: float) -> None:
    workload, _ = make_workload(seed, 60, rate).fitting(engine := make_engine(blocks, max_num_seqs=32))
    simulator = started(workload, name, engine, any_knobs(seed))
    now_s, start = 0.0, simulator.potential(0)
    potential = start
    while not simulator.drained(0):
        simulator.advance(now_s + slice_s)
        check_blocks(simulator)
        assert simulator.of(0).now_s[0] >= now_s
        now_s = float(simulator.of(0).now_s[0])
        assert simulator.potential(0) <= potential + 1e-9
        potential = simulator.potential(0)
        assert potential == pytest.approx(simulator.record(0, name).qoe.sum(), abs=1e-9)  # summed as it goes, and anew
        assert now_s < 1e5  # it gets on
    record = simulator.record(0, name)
    assert start == len(workload)
    assert potential == pytest.approx(record.qoe.sum(), abs=1e-9)
    assert (record.emitted_tokens == workload.output_tokens).all()
    assert simulator.of(0).registers[st_.R_FREE_BLOCKS] == engine.kv_blocks
    assert record.finished.all()


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0.05, 3.0))
def test_invariants_with_every_mechanism(name: str, seed: int, slice_s: float) -> None:
    """Prefix caching, host memory, readers who leave, odd block sizes; nobody is lost, nobody gets more than they asked for."""
    case = any_case(seed, name, requests=40)
    simulator, now_s, potential = case.started(), 0.0, float(len(case.workload))
    while not simulator.drained(0):
        simulator.advance(now_s + slice_s)
        check_blocks(simulator)
        now_s = float(simulator.of(0).now_s[0])
        assert simulator.potential(0) <= potential + 1e-9
        potential = simulator.potential(0)
        assert potential == pytest.approx(simulator.record(0, name).qoe.sum(), abs=1e-9)  # summed as it goes, and anew
        assert now_s < 1e5
    record = simulator.record(0, name)
    stayed = case.workload.abort_s > record.duration_s
    assert record.finished[stayed].all()
    assert (record.emitted_tokens[record.finished] == case.workload.output_tokens[record.finished]).all()
    assert record.finished.sum() + record.notes["aborted"] == len(case.workload)
    assert simulator.of(0).registers[st_.R_FREE_BLOCKS] == case.engine.kv_blocks
    assert simulator.of(0).registers[st_.R_HOST_FREE] == case.engine.host_kv_blocks


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_reader_who_leaves_is_bounded_from_both_sides(name: str) -> None:
    """The upper bound is the best case at the moment of leaving; it does not sink while others go on. The lower bound is 0."""
    workload = make_workload(3, 80, rate=20.0)
    patience_s = np.where(np.arange(80) % 3 == 0, 4.0, np.inf)
    impatient = replace(workload, abort_s=workload.arrival_s + patience_s)
    simulator = started(impatient, name, make_engine(200))
    simulator.advance(60.0)
    early = simulator.record(0, name)
    simulator.advance(np.inf)
    record = simulator.record(0, name)
    left = ~record.finished
    assert 0 < record.notes["aborted"] == left.sum()
    assert (impatient.abort_s[left] < np.inf).all()
    assert (record.qoe_lower[left] == 0.0).all()
    assert np.array_equal(record.qoe_lower[~left], record.qoe[~left])
    gone = left & (impatient.abort_s < 60.0)
    assert np.array_equal(early.qoe[gone], record.qoe[gone])
    for row in np.flatnonzero(left):
        missing = impatient.output_tokens[row] - record.emitted_tokens[row]
        delivery_s = np.concatenate([record.token_s[row], np.full(missing, impatient.abort_s[row])])
        best = headline_qoe(np.sort(delivery_s) - impatient.arrival_s[row], 1.0, impatient.latency_s[row])
        assert record.qoe[row] == pytest.approx(
            best, abs=0.02
        )  # the last token may come in the iteration they leave in
        never_spoke = record.emitted_tokens[row] == 0
        assert not never_spoke or record.qoe[row] == pytest.approx(best, abs=1e-9)
