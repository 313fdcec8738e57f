"""A look at the running requests that starts from the last one finds what asking each of them finds."""

from __future__ import annotations

from typing import Any

import pytest

from andes_engine.contender import Contender
from andes_engine.live_look import LiveLook
from andes_engine.step_time import preset
from andes_engine.vllm import adapter
from andes_engine.vllm.contenders import planner_for, simulated_twin
from andes_engine.vllm.contract import PlannerLike
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.running_memory import RunningMemory
from andes_engine.vllm.running_views import RunningViews
from andes_engine.vllm.virtual_clock import VirtualEngine
from andes_engine.vllm.waiting_views import WaitingViews
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
@pytest.mark.parametrize("caching", [False, True], ids=["", "prefixes"])
@pytest.mark.parametrize("who", PLANNERS)
def test_every_look_finds_what_is_there(
    who: str, caching: bool, pipelined: bool, host_kv_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, shown = [], []
    look, note, asked_of = RunningMemory.look, LiveLook.note, adapter.progress_of

    def checked(self: RunningMemory, scheduler: Any) -> RunningViews:
        views = look(self, scheduler)
        if len(shown) % 7 == 0:  # as an environment does between steps
            views = look(self, scheduler)
        running, (group,) = scheduler.running, scheduler.kv_cache_manager.coordinator.single_type_managers
        assert [*views.request_ids] == [request.request_id for request in running]
        assert views.computed_tokens.tolist() == [request.num_computed_tokens for request in running]
        assert views.held_blocks.tolist() == [len(group.req_to_blocks[name]) for name in views.request_ids]
        shown.append(len(running))
        return views

    def note_checked(self: LiveLook, views: RunningViews, waiting: WaitingViews) -> None:
        note(self, views, waiting)
        table, (running, admissible) = self._table, self.rows()
        assert table.names_of(running) == [*views.request_ids]
        assert table.names_of(admissible) == [view.request_id for view in waiting if view.admissible]
        assert table.columns.computed_tokens[running].tolist() == views.computed_tokens.tolist()
        assert table.columns.held_blocks[running].tolist() == views.held_blocks.tolist()
        cached = table.columns.cached_tokens[table.rows_of(waiting.request_ids)]
        assert cached.tolist() == [view.cached_tokens for view in waiting]

    def counted(requests: Any) -> Any:
        found = asked_of(requests)
        asked.append(len(found))
        return found

    monkeypatch.setattr(RunningMemory, "look", checked)
    monkeypatch.setattr(LiveLook, "note", note_checked)
    monkeypatch.setattr(adapter, "progress_of", counted)
    config = LiveConfig(host_kv_blocks=host_kv_blocks, prefix_caching=caching)
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
