"""The zero action is Andes, decision for decision: in the simulator and in vLLM's own scheduler on a virtual clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.knobs import Knobs
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from andes_engine.sim import state as st
from andes_engine.sim.run import run_simulated
from andes_engine.sim.simulator import Simulator
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload
from tests.live.stubs import NEEDS_VLLM


def needs_vllm(test):  # type: ignore[no-untyped-def]
    for mark in NEEDS_VLLM:
        test = mark(test)
    return test


REFERENCES = [{}, {"horizon_s": 40.0, "preemption_gate": 2.0, "planning_period_s": 0.05}]
ENGINE = make_engine(120, block_size_tokens=32, max_num_seqs=64, max_batched_tokens=512)


def overload() -> Workload:
    workload = make_workload(2, 120, 25.0, mean_prompt=300, mean_output=80)
    return replace(workload, prompt_tokens=np.minimum(workload.prompt_tokens, 800))


def zero_bundle(reference: dict[str, float]) -> Bundle:
    spec = ActionSpec(reference=reference)
    layer = np.zeros((spec.size, OBSERVATION_SIZE), np.float32), np.zeros(spec.size, np.float32)
    return Bundle("zero", (layer,), spec, 0.5)


def recorded_decisions(reference: dict[str, float], act: bool) -> list[tuple[bytes, bytes, bytes, float]]:
    """State after each iteration: who runs, in which order, who waits, how far each is, and when."""
    simulator = Simulator([ENGINE], 120)
    simulator.reset(0, overload(), "andes", Knobs(reference))
    spec, log = ActionSpec(reference=reference), []
    while not simulator.drained(0):
        engine = simulator.of(0)
        if act:
            simulator.set_knobs(0, spec.knob_vector(np.zeros(spec.size, np.float32)))
        registers = engine.registers
        idle = registers[st.R_RUNNING] + registers[st.R_WAITING] == 0
        start_s = engine.table["arrival_s"][registers[st.R_NEXT_ARRIVAL]] if idle else engine.now_s[0]
        simulator.advance(start_s + 1e-9)
        log.append(
            (
                engine.running[: registers[st.R_RUNNING]].tobytes(),
                engine.waiting[: registers[st.R_WAITING]].tobytes(),
                engine.table["computed_tokens"].tobytes(),
                float(engine.now_s[0]),
            )
        )
    return log


@pytest.mark.parametrize("reference", REFERENCES)
def test_in_the_simulator(reference: dict[str, float]) -> None:
    andes = recorded_decisions(reference, act=False)
    assert recorded_decisions(reference, act=True) == andes
    assert len(andes) > 500


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_zero_bundle_runs_like_andes(reference: dict[str, float]) -> None:
    andes = run_simulated(ENGINE, overload(), Contender("andes", knobs=reference), token_log=True)
    zero = run_simulated(ENGINE, overload(), Contender("zero", bundle=zero_bundle(reference)), token_log=True)
    assert all(np.array_equal(a, b) for a, b in zip(andes.token_s, zero.token_s, strict=True))
    assert andes.preemptions.sum() > 10


@needs_vllm
@pytest.mark.parametrize("reference", REFERENCES)
def test_in_vllms_scheduler(reference: dict[str, float]) -> None:
    from andes_engine.vllm.contenders import episode_requests, planner_for
    from andes_engine.vllm.contract import Plan
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.virtual_clock import VirtualEngine

    def plans(contender: Contender) -> list[tuple[int, Plan]]:
        engine = VirtualEngine(LiveConfig(kv_blocks=121, max_num_seqs=64), ENGINE.step_time, "andes")
        log: list[tuple[int, Plan]] = []
        engine.reset(episode_requests(overload()))
        engine.set_planner(planner_for(contender, ENGINE))
        engine.set_plan_log(lambda step, plan: log.append((step, plan)))
        engine.advance(np.inf)
        assert engine.counters.failures == 0
        return log

    andes = plans(Contender("andes", knobs=reference))
    assert plans(Contender("zero", bundle=zero_bundle(reference))) == andes
    assert sum(len(plan.preempt) for _, plan in andes) > 10
