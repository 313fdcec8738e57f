"""What a look at the running requests leaves for the next one: from step to step little changes, and asking each costs most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.running_views import IntArray, RunningViews, RunOrder, Since


class RunningMemory:
    """Looks at vLLM's running requests, and asks only those whose answer does not follow from the last look.

    A request whose prompt is computed lacks one token; in a step that schedules every running request it computes that one. After
    any other step, or a step without a look, all are asked.
    """

    def __init__(self) -> None:
        """Nobody has run yet."""
        self._number = 0
        self._running: list[Any] = []
        self._unsure: dict[str, Any] = {}  # was admitted since the last look, or had prompt left to compute then
        self._looked = self._one_more = False

    def look(self, scheduler: Any) -> RunningViews:
        """The running requests now, in vLLM's order."""
        running = self._running = [*scheduler.running]
        block_tokens = adapter.block_tokens_alike(scheduler)
        since: Since | None = None
        if self._one_more and block_tokens is not None:
            unsure = self._unsure.values()
            asked = adapter.progress_of(one for one in unsure if adapter.is_running(one)) if unsure else []
            since = Since([(one, name, computed) for one, name, computed, _ in asked], block_tokens)
        else:
            asked = adapter.progress_of(running)
        self._unsure = {name: one for one, name, computed, known in asked if computed < known - 1} if asked else {}
        self._number += 1
        self._looked, self._one_more = True, False  # until a step has been scheduled, for whoever looks twice

        def read() -> tuple[IntArray, IntArray]:
            computed = adapter.computed_tokens_of(running)
            return computed, adapter.held_blocks(scheduler, running, computed)

        def preemptible(place: int) -> bool:
            return adapter.is_preemptible(scheduler, running[place])

        return RunningViews(running, adapter.Names(running), read, preemptible, self._number, since)

    def follow(self, scheduler: Any, order: RunOrder) -> bool:
        """Order the running list by places in the last look; whether that could be done."""
        running = scheduler.running
        if not self._looked or len(order) != len(running):
            return False
        running[:] = map(self._running.__getitem__, order.places.tolist())
        return True

    def stepped(self, scheduler: Any, scheduler_output: Any, admitted: Iterable[str]) -> None:
        """The step that follows the look has been scheduled, and these requests joined in it."""
        self._one_more = self._looked and adapter.scheduled_requests(scheduler_output) == len(scheduler.running)
        self._looked = False
        if self._one_more:
            self._unsure.update((request_id, scheduler.requests[request_id]) for request_id in admitted)
        else:
            self._unsure.clear()
