"""A look at the running requests that starts from the last one finds what asking each of them finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from andes_engine.contender import Contender
from andes_engine.live_requests import LiveRequests
from andes_engine.step_time import preset
from andes_engine.vllm import adapter
from andes_engine.vllm.contenders import planner_for, simulated_twin
from andes_engine.vllm.contract import PlannerLike
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.running_memory import RunningMemory, _survivors
from andes_engine.vllm.running_views import RunningViews
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import INSTALLED, RandomPlanner, overload, step_time_s

REQUESTS = overload(90, rate=70.0)
PLANNERS: dict[str, Contender | None] = {
    "andes": Contender("andes", "andes", {"planning_period_s": 0.0}),
    "now and then": Contender("andes", "andes", {"planning_period_s": 0.03}),
    "pausing": Contender("andes", "andes", {"planning_period_s": 0.0, "pause_threshold_tokens": 4.0}),
    "names": None,  # orders by name, fails at times
}


@INSTALLED
@pytest.mark.live
@pytest.mark.parametrize("pipelined", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("host_kv_blocks", [0, 40], ids=["recompute", "host memory"])
@pytest.mark.parametrize("who", PLANNERS)
def test_every_look_finds_what_is_there(
    who: str, pipelined: bool, host_kv_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, shown = [], []
    look, rows_of, asked_of = RunningMemory.look, LiveRequests.note_running, adapter.known_tokens_of

    def checked(self: RunningMemory, scheduler: Any) -> RunningViews:
        views = look(self, scheduler)
        if len(shown) % 3 == 0:  # as an environment does between steps
            views = look(self, scheduler)
        running, (group,) = scheduler.running, scheduler.kv_cache_manager.coordinator.single_type_managers
        assert [*views.request_ids] == [request.request_id for request in running]
        assert views.computed_tokens.tolist() == [request.num_computed_tokens for request in running]
        assert views.held_blocks.tolist() == [len(group.req_to_blocks[name]) for name in views.request_ids]
        shown.append(len(running))
        return views

    def rows_checked(self: LiveRequests, views: RunningViews) -> Any:
        rows = rows_of(self, views)
        assert rows.tolist() == self.table.rows_of([*views.request_ids]).tolist()
        return rows

    def counted(requests: Any) -> Any:
        asked.append(len(requests))
        return asked_of(requests)

    monkeypatch.setattr(RunningMemory, "look", checked)
    monkeypatch.setattr(LiveRequests, "note_running", rows_checked)
    monkeypatch.setattr(adapter, "known_tokens_of", counted)
    config = LiveConfig(host_kv_blocks=host_kv_blocks)
    engine = VirtualEngine(config, step_time_s, "andes", pipelined=pipelined, host_copy_s_per_block=1e-4)
    contender = PLANNERS[who]
    planner: PlannerLike | None = RandomPlanner(1)
    if contender is not None:
        planner = planner_for(contender, simulated_twin(config, preset("h100_llama3_8b")))
    engine.replay(REQUESTS, planner)
    assert engine.counters.failures == getattr(planner, "raised", 0)
    assert sum(shown) > 500 and engine.counters.preemptions > 5
    if who == "andes" and not pipelined:
        assert sum(asked) < sum(shown) / 2


def test_who_stayed_is_found_in_any_list() -> None:
    draw = np.random.default_rng(3)
    for _ in range(300):
        before = [object() for _ in range(draw.integers(0, 120))]
        stays = draw.random(len(before)) < draw.choice([0.0, 0.5, 0.98, 1.0])
        new = [object() for _ in range(draw.integers(0, 5))]
        now = [one for one, stay in zip(before, stays, strict=True) if stay] + new
        assert _survivors(before, now).tolist() == np.flatnonzero(stays).tolist()
        moved = now[::-1]
        found = _survivors(before, moved)
        assert [before[place] for place in found] == moved[: len(found)]
