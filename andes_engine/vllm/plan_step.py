"""One engine step's planning: look at vLLM's state, ask the planner, apply its answer before vLLM schedules.

The rules that keep vLLM's invariants hold here whatever the planner answers, and also when it raises.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import HostRoom, Plan, PlannerLike
from andes_engine.vllm.cooldown import Cooldown
from andes_engine.vllm.gated_queue import GatedQueue
from andes_engine.vllm.prefix_probe import PrefixProbe
from andes_engine.vllm.running_memory import RunningMemory
from andes_engine.vllm.running_views import RunningViews, RunOrder
from andes_engine.vllm.waiting_views import WaitingViews

STOCK_PLAN = Plan(preempt=[], admit=None, run_order=None, token_budget=None)
"""vLLM's own decision: what a step falls back to."""


class PlanStep:
    """A throwaway owner of one step: `ask`, then `preempt`, `reorder` and `pause`, then `gate`."""

    def __init__(
        self,
        scheduler: Any,
        gates: list[GatedQueue],
        cooldown: Cooldown,
        probe: PrefixProbe,
        running: RunningMemory,
        step: int,
    ) -> None:
        """Take the state to plan for.

        Args:
            scheduler: vLLM's scheduler, before its `schedule()`.
            gates: Its gated waiting queues, in the order vLLM scans them.
            cooldown: Who may not resume yet.
            probe: What the prefix cache holds of waiting requests.
            running: What the last look at the running requests found.
            step: Number of the step being planned.
        """
        self._scheduler = scheduler
        self._gates = gates
        self._cooldown = cooldown
        self._probe = probe
        self._running = running
        self._step = step
        self.ignored = 0
        """Decisions that could not be followed: unknown requests, unsafe preemptions."""
        self._waiting_ids: list[str] | None = None
        self._blocked: list[str] = []
        self._out: set[str] = set()
        self.forced = False
        """Whether a request was let in against the plan because the engine would have stood still."""

    def ask(self, planner: PlannerLike, now_s: float) -> Plan:
        """The planner's plan; it is shown what runs, what waits and what is free, unless it can do without."""
        carry_on = getattr(planner, "carry_on", None)
        plan: Plan | None = None
        if carry_on is not None:
            plan = carry_on(now_s, len(self._scheduler.running), partial(adapter.computed_tokens, self._scheduler))
        return planner.plan(now_s, *self.look()) if plan is None else plan

    def look(self) -> tuple[RunningViews, WaitingViews, int, HostRoom]:
        """What a planner is shown: running, waiting, free blocks, host memory."""
        scheduler = self._scheduler
        return (
            self._running.look(scheduler),
            self.waiting_view(),
            adapter.free_blocks(scheduler),
            adapter.host_room(scheduler),
        )

    def waiting_view(self) -> WaitingViews:
        """The waiting requests, in vLLM's order."""
        scheduler, ids = self._scheduler, self._look_at_waiting()
        host = adapter.host_tokens(scheduler, ids)
        if not adapter.caches_prefixes(scheduler):
            return WaitingViews(ids, self._out, None, host)
        arrivals = self._of_gates(GatedQueue.take_arrivals)
        changes = self._probe.look(scheduler, arrivals)
        return WaitingViews(ids, self._out, partial(self._probe.tokens, scheduler, ids), host, *changes)

    def _look_at_waiting(self) -> list[str]:
        """Who waits, and who of them must not be admitted: asked once a step, and who is preempted in it joins both."""
        if self._waiting_ids is None:
            self._waiting_ids = self._of_gates(GatedQueue.stored)
            self._blocked = self._of_gates(GatedQueue.blocked)
            self._out = self._cooldown.resting(self._waiting, self._step).union(self._blocked)
        return self._waiting_ids

    def _of_gates(self, names: Callable[[GatedQueue], list[str]]) -> list[str]:
        if len(self._gates) == 1:
            return names(self._gates[0])
        return [*chain.from_iterable(map(names, self._gates))]

    def _waiting(self, request_id: str) -> Any | None:
        for gate in self._gates:
            if (request := gate.get(request_id)) is not None:
                return request
        return None

    def preempt(self, request_ids: list[str]) -> int:
        """Preempt what may be preempted; returns how many were."""
        done = 0
        if request_ids:
            self._look_at_waiting()
        for request_id in request_ids:
            request = self._scheduler.requests.get(request_id)
            if request is None or not adapter.is_preemptible(self._scheduler, request):
                self.ignored += 1
                continue
            adapter.preempt(self._scheduler, request)
            self._out.add(request_id)
            done += 1
        return done

    def reorder(self, order: Sequence[str] | None) -> None:
        """Order the running list: named requests first, the others behind them as they were.

        vLLM hands out the token budget in this order and takes its emergency victim from the end.
        """
        if order is None:
            return
        if isinstance(order, RunOrder) and self._running.follow(self._scheduler, order):
            return
        running = self._scheduler.running
        others = {request.request_id: request for request in running}
        named = [request for name in order if (request := others.pop(name, None)) is not None]
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
        """Show vLLM the admitted requests that may run, then blocked ones, which only its own scan can wake up.

        With no limit on who is admitted and nobody at rest the gates stay open, and vLLM sees what it would see without them.
        """
        if admit is None and len(self._cooldown) == 0:
            return
        waiting = self._look_at_waiting()
        order = self._free_to_go(waiting) if admit is None else self._known(admit)
        if not order and not self._scheduler.running and (able := self._free_to_go(waiting)):
            self.forced = admit is not None
            order = able[:1]
        for gate in self._gates:
            gate.restrict([*order, *self._blocked])

    def _free_to_go(self, request_ids: Sequence[str]) -> list[str]:
        return [name for name in request_ids if name not in self._out]

    def _known(self, admit: list[str]) -> list[str]:
        named = dict.fromkeys(admit)
        chosen = [name for name in named if name not in self._out and self._waiting(name) is not None]
        self.ignored += len(admit) - len(chosen)
        return chosen
