"""Contenders on live vLLM and in the simulator, on the same overload burst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from andes_engine.contender import Contender
from andes_engine.errors import CapacityError
from andes_engine.policy.bundle import Bundle
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import preset
from andes_engine.workload.generate import generate, saturation_rate
from andes_engine.workload.spec import workload_spec
from tests.builders import tiny_workload
from tests.engine.test_policy import SPEC, make_bundle
from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM


@pytest.fixture(scope="module")
def runner() -> Iterator:  # type: ignore[type-arg]
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.run import LiveRunner

    with LiveRunner(LiveConfig(), preset("cpu_tiny_llama")) as made:
        made.calibrate()
        yield made


def test_the_device_takes_a_part_of_each_iteration(runner) -> None:  # type: ignore[no-untyped-def]
    """What an emulated device must take: the real engine around it spends vLLM's own time again."""
    load = (0, 16, 2000, 0)
    assert 0.0 < runner.device_time(*load) < runner.step_time(*load)
    assert all(0.0 < step.device_s < step.duration_s for step in runner._engine.samples)


def test_andes_beats_fcfs_live_and_in_the_simulator(runner) -> None:  # type: ignore[no-untyped-def]
    spec = workload_spec({"name": "burst", "arrivals": "poisson", "lengths": "tiny", "duration_s": 6.0})
    burst = generate(spec, 1, 2.5 * saturation_rate(runner.engine_config, spec))
    fcfs, andes = Contender("fcfs", "fcfs"), Contender("andes")
    bundle = Contender("bundle", bundle=make_bundle(0.05))
    live = {entry.name: runner.run(burst, entry) for entry in (fcfs, andes, bundle)}
    simulated = {entry.name: run_simulated(runner.engine_config, burst, entry) for entry in (fcfs, andes)}
    for name, run in live.items():
        print(
            f"{name}: live {run.qoe.mean():.3f}",
            f"simulated {simulated[name].qoe.mean():.3f}" if name in simulated else "",
        )
        assert (run.emitted_tokens == burst.output_tokens).all()
        assert run.notes.get("planner_failures", 0) == 0
    assert live["andes"].qoe.mean() > live["fcfs"].qoe.mean() + 0.03
    assert simulated["andes"].qoe.mean() > simulated["fcfs"].qoe.mean() + 0.03
    assert live["andes"].notes["planned_preemptions"] > 0
    assert live["bundle"].notes["policy_decisions"] > 3


def test_a_failing_policy_does_not_stop_the_engine(runner) -> None:  # type: ignore[no-untyped-def]
    class Broken(Bundle):
        def act(self, observation: np.ndarray) -> np.ndarray:
            raise RuntimeError("boom")

    good = make_bundle()
    broken = Broken(good.name, good.layers, SPEC, 0.2)
    spec = workload_spec({"name": "burst", "arrivals": "poisson", "lengths": "tiny", "requests": 12})
    record = runner.run(generate(spec, 2, 20.0), Contender("broken", bundle=broken))
    assert record.finished.all()
    assert record.notes["policy_fallback_exception"] > 0


def test_what_does_not_fit_is_refused_before_anything_starts(runner) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CapacityError, match=r"request 1 needs .*raise kv_blocks"):
        runner.run(tiny_workload(output_tokens=[3, 10_000]), Contender("fcfs", "fcfs"))


@pytest.mark.parametrize(
    "contender",
    [
        Contender("reserve", "fcfs", {"kv_reserve": 0.05}),
        Contender("sarathi", "sarathi"),
        Contender("vtc", "vtc"),
        Contender("srpt", "srpt", lengths="hazard"),
        Contender("own", "tests.own_score.shortest_context"),
        Contender("pauses", "andes", {"pause_threshold_tokens": 2.0}),
    ],
    ids=lambda contender: contender.name,
)
def test_every_kind_of_scheduler_runs_live(runner, contender: Contender) -> None:  # type: ignore[no-untyped-def]
    spec = workload_spec({"name": "burst", "arrivals": "poisson", "lengths": "tiny", "requests": 30})
    burst = generate(spec, 3, 2.0 * saturation_rate(runner.engine_config, spec))
    shared = replace(burst, user=np.arange(30) % 3, abort_s=np.where(np.arange(30) == 7, burst.arrival_s, np.inf))
    record = runner.run(shared, contender)
    stays = np.arange(30) != 7
    assert (record.emitted_tokens[stays] == burst.output_tokens[stays]).all()
    assert not record.finished[7]
    assert record.notes["planner_failures"] == record.notes["ignored_decisions"] == 0
    assert record.notes["aborted"] == 1
