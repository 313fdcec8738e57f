"""A planner that is not shown the engine at every step decides as one that is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from andes_engine.contender import Contender
from andes_engine.planner import Planner
from andes_engine.vllm.contenders import planner_for, simulated_twin
from andes_engine.vllm.contract import Plan
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.builders import STEP_TIME
from tests.live.stubs import NEEDS_VLLM, overload

pytestmark = NEEDS_VLLM
CASES = {
    "planned always": Contender("andes", "andes", {}),
    "plans kept": Contender("andes", "andes", {"planning_period_s": 0.1}),
    "prefill budget": Contender("andes", "andes", {"planning_period_s": 0.1, "prefill_tokens_per_step": 96.0}),
    "prefill budget, always": Contender("andes", "andes", {"prefill_tokens_per_step": 96.0}),
    "prefill owed": Contender("andes", "andes", {"prefill_backlog_s": 0.1}),
    "prefill gathered": Contender("andes", "andes", {"prefill_gather_s": 0.2}),
    "paused": Contender("andes", "andes", {"planning_period_s": 0.3, "pause_threshold_tokens": 2.0}),
    "served least": Contender("mlfq", "mlfq", {"planning_period_s": 0.05}),
    "fair": Contender("vtc", "vtc", {}),
    "authors": Contender("authors_code", "authors_code", {"planning_period_s": 0.1}),
}


class Watched:
    """A planner that notes its plans, and how often it was shown the engine; `blind` False: always."""

    def __init__(self, planner: Planner, blind: bool) -> None:
        self._planner = planner
        self.looks = 0
        self.plans: list[Plan] = []
        if not blind:
            planner.carry_on = lambda *arguments: None  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> object:
        return getattr(self._planner, name)

    def carry_on(self, *arguments: object) -> Plan | None:
        plan = self._planner.carry_on(*arguments)  # type: ignore[arg-type]
        if plan is not None:
            self.plans.append(plan)
        return plan

    def plan(self, *arguments: object) -> Plan:
        self.looks += 1
        self.plans.append(self._planner.plan(*arguments))  # type: ignore[arg-type]
        return self.plans[-1]


@pytest.mark.parametrize("pipelined", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("case", CASES)
def test_the_same_plans_without_a_look(case: str, pipelined: bool) -> None:
    config = LiveConfig(prefix_caching=case == "plans kept", host_kv_blocks=64 if case == "paused" else 0)
    requests = overload(40, rate=5.0) + [  # some have room, then nobody has
        replace(request, request_id=f"b{request.request_id}", arrival_s=request.arrival_s + 9.0)
        for request in overload(60, rate=70.0, seed=1)
    ]
    seen, records = [], []
    for blind in (True, False):
        engine = VirtualEngine(config, STEP_TIME, "andes", pipelined=pipelined)
        watched = Watched(planner_for(CASES[case], simulated_twin(config, STEP_TIME)), blind)  # type: ignore[arg-type]
        records.append(engine.replay(requests, watched))  # type: ignore[arg-type]
        assert engine.counters.failures == 0
        seen.append(watched)
    with_few, with_all = seen
    assert with_few.plans == with_all.plans
    assert records[0] == records[1]
    assert case == "authors" or {plan.admit is None for plan in with_all.plans} == {True, False}
    assert with_all.looks == len(with_all.plans)
    assert with_few.looks == len(with_few.plans) if case == "authors" else with_few.looks < 0.9 * len(with_few.plans)
