"""The service around a planner inside vLLM's own scheduler, on a virtual clock: whatever a policy does, nobody is lost."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from andes_engine.decision_trace import recorder
from andes_engine.decision_trace.recorder import DecisionTrace
from andes_engine.decision_trace.replay import replay_trace
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.service.config import ServiceConfig
from andes_engine.service.metrics import Exporter
from andes_engine.service.policy_watch import Swap
from andes_engine.service.service import Service
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.engine.test_policy import SPEC, make_bundle
from tests.live.stubs import NEEDS_VLLM, overload, step_time_s

pytestmark = NEEDS_VLLM
REQUESTS = overload(60, rate=70.0)


class Policy:
    """A bundle that does what it is told instead of what it learned."""

    name, action, decision_interval_s = "told", SPEC, 0.2

    def __init__(self, act: Any) -> None:
        self.act = act

    def actor(self) -> Any:
        return self.act


def fails(observation: np.ndarray) -> np.ndarray:
    raise RuntimeError("boom")


def slow(observation: np.ndarray) -> np.ndarray:
    time.sleep(0.01)
    return np.zeros(SPEC.size)


POLICIES = {
    "exception": fails,
    "not finite": lambda observation: np.full(SPEC.size, np.nan),
    "out of bounds": lambda observation: np.full(SPEC.size, 7.0),
    "over budget": slow,
}


@pytest.fixture(scope="module")
def engine() -> VirtualEngine:
    return VirtualEngine(LiveConfig(), step_time_s, "andes")


def started(engine: VirtualEngine, guard: GuardedPolicy | None, **parts: Any) -> Service:
    """The engine at the start of an episode under Andes, a policy, and a service."""
    from andes_engine.planner import Planner

    engine.set_planner(None)
    engine.reset(REQUESTS)
    planner = Planner.from_config({}, engine.shape)
    planner.set_policy(guard)
    engine.set_planner(planner)
    if "trace" in parts:
        parts["trace"] = DecisionTrace(parts["trace"], 64.0, planner.trace_header())
    exporter = parts.pop("exporter", None)
    engine._scheduler.service = Service(planner, ServiceConfig(policy_poll_s=0.0), exporter, **parts)
    return engine._scheduler.service


def assert_everybody_was_served(engine: VirtualEngine) -> None:
    assert {i: len(times) for i, times in engine.token_times.items()} == {
        request.request_id: request.output_tokens for request in REQUESTS
    }
    assert engine.counters.failures == 0


@pytest.mark.parametrize("cause", POLICIES)
def test_a_failing_policy_is_andes_without_one(
    engine: VirtualEngine, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    guard = GuardedPolicy(Policy(POLICIES[cause]), version="1")  # type: ignore[arg-type]
    service = started(engine, guard, exporter=Exporter("m", 0, registry))
    engine.advance(math.inf)
    service.close()
    assert_everybody_was_served(engine)
    assert guard.decisions > 3
    assert guard.fallbacks == {cause: guard.decisions}
    assert [record.message for record in caplog.records if cause in record.message] != []
    assert len(caplog.records) == 1
    found = {"model_name": "m", "engine": "0", "cause": "policy_" + cause.replace(" ", "_")}
    assert registry.get_sample_value("andes_fallbacks_total", found) == guard.decisions
    served = {"model_name": "m", "engine": "0"}
    assert registry.get_sample_value("andes_request_qoe_ratio_count", served) == len(REQUESTS)
    planned = registry.get_sample_value("andes_preemptions_total", {**served, "cause": "planned"})
    assert planned == engine.counters.planned_preemptions > 0


class Hands:
    """A watch that finds a new policy every few steps."""

    def __init__(self) -> None:
        self.looks = 0

    def take(self) -> Swap | None:
        self.looks += 1
        if self.looks % 50:
            return None
        return Swap(None if self.looks % 100 else GuardedPolicy(make_bundle(scale=1.0), version=str(self.looks)))

    def stop(self) -> None:
        return


def test_policies_come_and_go_and_every_decision_replays(
    engine: VirtualEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_WAITING_DECISIONS", 10_000)  # virtual time may outrun the writer
    service = started(engine, None, trace=tmp_path / "trace.jsonl")
    hands = service._watch = Hands()  # type: ignore[assignment]
    engine.advance(math.inf)
    service.close()
    assert_everybody_was_served(engine)
    assert service._swaps == hands.looks // 50 > 4
    assert service.failures == 0
    found = replay_trace(tmp_path / "trace.jsonl")
    assert found.decisions == engine.counters.plans
    assert found.plans > 20
    assert found.differing == [], found.first_difference
