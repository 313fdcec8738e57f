"""The simulated engine: what it must conserve, repeat and agree on; and what Andes is for."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, CapacityError, UnknownNameError
from andes_engine.knobs import Knobs
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim.run import run_simulated
from andes_engine.sim.simulator import Simulator, simulate
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload, tiny_workload


def started(
    workload: Workload, scheduler: str = "andes", engine: EngineConfig | None = None, knobs: Knobs | None = None
) -> Simulator:
    engine = engine or make_engine()
    simulator = Simulator([engine], len(workload), token_log=int(workload.output_tokens.sum()))
    simulator.reset(0, workload, scheduler, knobs or Knobs())
    return simulator


def same(first: RunRecord, second: RunRecord) -> bool:
    fields = ("qoe", "first_token_s", "finish_s", "emitted_tokens", "preemptions")
    return all(np.array_equal(getattr(first, f), getattr(second, f), equal_nan=True) for f in fields)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_two_thousand_requests_drain(name: str) -> None:
    workload = make_workload(1, 2000, rate=12.0)
    record = simulate(make_engine(), workload, name, token_log=True)
    assert (record.emitted_tokens == workload.output_tokens).all()
    assert record.prefill_tokens >= workload.prompt_tokens.sum()
    assert (record.first_token_s > workload.arrival_s).all()
    assert (record.finish_s >= record.first_token_s).all()
    assert all((np.diff(token_s) > 0).all() for token_s in record.token_s)
    assert record.duration_s == pytest.approx(record.finish_s.max())


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_tracker_agrees_with_the_recorded_tokens(name: str, overload: Workload, engine: EngineConfig) -> None:
    record = simulate(engine, overload, name, token_log=True)
    run = {"duration_s": record.duration_s, "prefill_tokens": record.prefill_tokens}
    outside = record_from_tokens(overload, "test", name, list(record.token_s), record.preemptions, **run)
    assert outside.qoe == pytest.approx(record.qoe, abs=1e-9)
    assert np.array_equal(outside.first_token_s, record.first_token_s)
    assert np.array_equal(outside.finish_s, record.finish_s)


def test_a_cut_run_gives_both_bounds(overload: Workload, engine: EngineConfig) -> None:
    record = simulate(engine, overload, "fcfs", until_s=20.0, token_log=True)
    drained = simulate(engine, overload, "fcfs")
    assert 0 < record.finished.sum() < len(overload)
    assert (record.qoe_lower <= drained.qoe + 1e-12).all()
    assert (drained.qoe <= record.qoe + 1e-12).all()
    run = {"duration_s": record.duration_s, "prefill_tokens": record.prefill_tokens}
    outside = record_from_tokens(overload, "test", "fcfs", list(record.token_s), record.preemptions, **run)
    assert outside.qoe == pytest.approx(record.qoe, abs=1e-9)
    assert outside.qoe_lower == pytest.approx(record.qoe_lower, abs=1e-9)


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_deterministic_however_it_is_advanced(name: str, overload: Workload, engine: EngineConfig) -> None:
    whole = simulate(engine, overload, name)
    assert same(whole, simulate(engine, overload, name))
    sliced = started(overload, name, engine)
    while not sliced.drained(0):
        sliced.advance(float(sliced.of(0).now_s[0]) + 0.7)
    assert same(whole, sliced.record(0, name))


def test_engines_side_by_side_do_not_touch(overload: Workload) -> None:
    engines = [make_engine(2000), make_engine(400, max_num_seqs=16)]
    other = make_workload(9, 100, rate=3.0)
    simulator = Simulator(engines, len(overload))
    simulator.reset(0, overload, "andes", Knobs())
    simulator.reset(1, other.fitting(engines[1])[0], "fcfs", Knobs())
    simulator.advance(np.inf)
    assert same(simulator.record(0, "andes"), simulate(engines[0], overload, "andes"))
    assert same(simulator.record(1, "fcfs"), simulate(engines[1], other.fitting(engines[1])[0], "fcfs"))


def test_reset_forgets_the_last_run(overload: Workload, engine: EngineConfig) -> None:
    simulator = Simulator([engine], len(overload))
    simulator.reset(0, overload, "fcfs", Knobs())
    simulator.advance(15.0)
    simulator.reset(0, overload.head(50), "andes", Knobs())
    simulator.advance(np.inf)
    assert same(simulator.record(0, "andes"), simulate(engine, overload.head(50), "andes"))


def test_an_iteration_takes_its_modelled_time() -> None:
    """One request alone: a prefill of 5 tokens, then two decodes over a context of 6 and 7."""
    engine = make_engine()
    record = simulate(engine, tiny_workload().head(1), "fcfs", token_log=True)
    model = engine.step_time
    spans = [model(5, 0, 0, 25), model(0, 1, 6, 0), model(0, 1, 7, 0)]
    assert record.token_s[0] == pytest.approx(np.cumsum(spans))


def test_recompute_costs_prefill_tokens(overload: Workload, engine: EngineConfig) -> None:
    record = simulate(engine, overload, "andes")
    assert record.preemptions.sum() > 0
    assert record.prefill_tokens > overload.prompt_tokens.sum()
    never = simulate(engine, overload, "andes", Knobs({"preemption_budget": 0.25}))
    assert never.notes["planned_preemptions"] == 0


def test_andes_beats_fcfs_in_a_burst(overload: Workload, engine: EngineConfig) -> None:
    fcfs, andes = (simulate(engine, overload, name).qoe for name in ("fcfs", "andes"))
    assert andes.mean() > fcfs.mean() + 0.1


def test_equal_at_light_load(engine: EngineConfig) -> None:
    workload = make_workload(4, 100, rate=0.5)
    fcfs, andes = (simulate(engine, workload, name) for name in ("fcfs", "andes"))
    assert same(fcfs, andes)
    assert fcfs.qoe.min() > 0.99


def test_unknown_scheduler_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'andes'"):
        simulate(make_engine(), tiny_workload(), "ands")


def test_a_request_longer_than_the_cache_is_refused() -> None:
    with pytest.raises(CapacityError, match="request 1 needs 1003 tokens"):
        simulate(make_engine(20), tiny_workload(prompt_tokens=[5, 1000]), "fcfs")
    kept, dropped = tiny_workload(prompt_tokens=[5, 1000]).fitting(make_engine(20))
    assert (len(kept), dropped) == (1, 1)


def test_the_longest_request_that_fits_is_served() -> None:
    record = simulate(make_engine(20), tiny_workload(prompt_tokens=[300, 300], output_tokens=[4, 4]), "fcfs")
    assert record.finished.all()


def test_too_many_requests_for_the_simulator(overload: Workload) -> None:
    simulator = Simulator([make_engine()], 10)
    with pytest.raises(CapacityError, match="max_requests"):
        simulator.reset(0, overload, "fcfs", Knobs())
    with pytest.raises(RuntimeError, match="reset first"):
        simulator.workload(0)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        ({"kv_blocks": 0}, "kv_blocks"),
        ({"kv_blocks": -5}, "kv_blocks"),
        ({"kv_blocks": 1}, "at least 2"),
        ({"kv_blocks": 2.5}, "whole number"),
        ({"kv_blocks": float("nan")}, "kv_blocks"),
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"max_num_seqs": 512, "max_batched_tokens": 256}, "max_batched_tokens"),
        ({"block_size_tokens": 0}, "block_size_tokens"),
    ],
)
def test_impossible_engines_are_refused(limits: dict, match: str) -> None:
    with pytest.raises(AndesError, match=match):
        make_engine(**limits)


def test_a_contender_that_keeps_kv_caches_has_nothing_computed_twice() -> None:
    """Host memory comes with the contender, on an engine that has none of its own."""
    engine, workload = make_engine(120), make_workload(3, 60, rate=20.0)
    knobs = {"preemption_budget": 8.0, "preemption_cap": 4.0, "stall_price": 0.0, "horizon_s": 60.0}
    lost, kept = (run_simulated(engine, workload, Contender("c", knobs=knobs, keep_kv=share)) for share in (0.0, 4.0))
    assert lost.preemptions.sum() > 10 and kept.preemptions.sum() > 10
    again = [summarize(run)["recomputed_per_request"] for run in (lost, kept)]
    assert lost.notes["copied_blocks"] == 0 < kept.notes["copied_blocks"] and again[1] < 0.2 * again[0]
