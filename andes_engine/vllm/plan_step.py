"""One engine step's planning: look at vLLM's state, ask the planner, apply its answer before vLLM schedules.

The rules that keep vLLM's invariants hold here whatever the planner answers, and also when it raises.
"""

from collections.abc import Sequence
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import HostRoom, Plan, PlannerLike, RunningView, WaitingView
from andes_engine.vllm.cooldown import Cooldown
from andes_engine.vllm.gated_queue import GatedQueue
from andes_engine.vllm.prefix_probe import PrefixProbe
from andes_engine.vllm.running_views import RunningViews

STOCK_PLAN = Plan(preempt=[], admit=None, run_order=None, token_budget=None)
"""vLLM's own decision: what a step falls back to."""


class PlanStep:
    """A throwaway owner of one step: `ask`, then `preempt`, `reorder` and `pause`, then `gate`."""

    def __init__(
        self, scheduler: Any, gates: list[GatedQueue], cooldown: Cooldown, probe: PrefixProbe, step: int
    ) -> None:
        """Take the state to plan for.

        Args:
            scheduler: vLLM's scheduler, before its `schedule()`.
            gates: Its gated waiting queues, in the order vLLM scans them.
            cooldown: Who may not resume yet.
            probe: What the prefix cache holds of waiting requests.
            step: Number of the step being planned.
        """
        self._scheduler = scheduler
        self._gates = gates
        self._cooldown = cooldown
        self._probe = probe
        self._step = step
        self.ignored = 0
        """Decisions that could not be followed: unknown requests, unsafe preemptions."""
        self._admissible: dict[str, None] = {}
        self._blocked: list[str] = []
        self._waiting: list[Any] | None = None
        self.forced = False
        """Whether a request was let in against the plan because the engine would have stood still."""

    def ask(self, planner: PlannerLike, now_s: float) -> Plan:
        """Show the planner what runs, what waits and what is free."""
        return planner.plan(now_s, *self.look())

    def look(self) -> tuple[Sequence[RunningView], list[WaitingView], int, HostRoom]:
        """What a planner is shown: running, waiting, free blocks, host memory."""
        scheduler = self._scheduler
        return self.running_view(), self.waiting_view(), adapter.free_blocks(scheduler), adapter.host_room(scheduler)

    def running_view(self) -> Sequence[RunningView]:
        """The running requests, in vLLM's order."""
        scheduler, running = self._scheduler, list(self._scheduler.running)
        ids = [request.request_id for request in running]
        computed_tokens = [request.num_computed_tokens for request in running]
        held_blocks = adapter.held_blocks(scheduler, ids)
        return RunningViews(
            ids, computed_tokens, held_blocks, lambda place: adapter.is_preemptible(scheduler, running[place])
        )

    def waiting_view(self) -> list[WaitingView]:
        """The waiting requests, in vLLM's order."""
        scheduler, admissible = self._scheduler, self._sort_waiting()
        requests = self._waiting or []
        ids = [request.request_id for request in requests]
        cached = self._probe.cached_tokens(scheduler, requests)
        return [*map(WaitingView, ids, map(admissible.__contains__, ids), cached, adapter.host_tokens(scheduler, ids))]

    def _sort_waiting(self) -> dict[str, None]:
        """Who may be admitted, and who waits for something else; once a step, as who is preempted in it rests anyway."""
        if self._waiting is None:
            self._waiting = [request for gate in self._gates for request in gate]
            self._blocked = [request.request_id for request in adapter.blocked(self._waiting)]
            out = self._cooldown.resting(self._waiting, self._step).union(self._blocked)
            ids = [request.request_id for request in self._waiting]
            self._admissible = dict.fromkeys([name for name in ids if name not in out] if out else ids)
        return self._admissible

    def preempt(self, request_ids: list[str]) -> int:
        """Preempt what may be preempted; returns how many were."""
        if not request_ids:
            return 0
        running = {request.request_id: request for request in self._scheduler.running}
        done = 0
        for request_id in request_ids:
            request = running.pop(request_id, None)
            if request is None or not adapter.is_preemptible(self._scheduler, request):
                self.ignored += 1
                continue
            adapter.preempt(self._scheduler, request)
            done += 1
        return done

    def reorder(self, request_ids: list[str] | None) -> None:
        """Order the running list: named requests first, the others behind them as they were.

        vLLM hands out the token budget in this order and takes its emergency victim from the end.
        """
        if request_ids is None:
            return
        running = self._scheduler.running
        if [request.request_id for request in running[: len(request_ids)]] == request_ids:
            return
        others = {request.request_id: request for request in running}
        named = [request for name in request_ids if (request := others.pop(name, None)) is not None]
        running[:] = [*named, *others.values()]

    def pause(self, request_ids: Sequence[str], others_start: bool) -> int:
        """Let running requests skip the step, never all of them unless others start; returns how many do."""
        if not request_ids:
            return 0
        running = {request.request_id: request for request in self._scheduler.running}
        named = [running[request_id] for request_id in dict.fromkeys(request_ids) if request_id in running]
        if len(named) == len(running) and not others_start:
            named = named[1:]
        done = sum(adapter.pause(self._scheduler, request) for request in named)
        self.ignored += len(request_ids) - done
        return done

    def gate(self, admit: list[str] | None) -> None:
        """Show vLLM the admitted requests that may run, then blocked ones, which only its own scan can wake up."""
        admissible = self._sort_waiting()
        order = list(admissible) if admit is None else list(self._known(admit, admissible))
        if not order and admissible and not self._scheduler.running:
            self.forced = admit is not None
            order = [next(iter(admissible))]
        order += self._blocked
        for gate in self._gates:
            gate.restrict(order)

    def _known(self, admit: list[str], admissible: dict[str, None]) -> dict[str, None]:
        chosen = {request_id: None for request_id in admit if request_id in admissible}
        self.ignored += len(admit) - len(chosen)
        return chosen
