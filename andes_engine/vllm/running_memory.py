"""What a look at the running requests leaves for the next one: from step to step little changes, and asking each costs most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.vllm import adapter
from andes_engine.vllm.running_views import RunningViews, RunOrder

IntArray = NDArray[np.int64]

_NONE: IntArray = np.zeros(0, dtype=np.int64)
_AT_ONCE = 32
"""Items compared at once on the way to where two lists part: lists compare much faster than one item after the other."""


class RunningMemory:
    """Looks at vLLM's running requests, and asks only those whose answer does not follow from the last look.

    Who ran before is told by the list itself, in which vLLM takes requests out and appends others. A request whose prompt is
    computed lacks one token; in a step that schedules every running request it computes that one. After any other step, or a
    step without a look, all are asked again.
    """

    def __init__(self) -> None:
        """Nobody has run yet."""
        self._serial = 0
        self._running: list[Any] = []
        self._places = _NONE  # of those in the views that were made last
        self._computed, self._prefills = _NONE, np.zeros(0, dtype=np.bool_)  # by place in those views
        self._looked = self._one_more = False

    def look(self, scheduler: Any) -> RunningViews:
        """The running requests now, in vLLM's order."""
        running = [*scheduler.running]
        places = self._places_of(running)
        computed, prefills = self._asked(running, places)
        self._serial += 1
        self._running, self._places = running, np.arange(len(running))
        self._computed, self._prefills = computed, prefills
        self._looked, self._one_more = True, False  # until a step has been scheduled, for whoever looks twice
        return RunningViews(
            adapter.Names(running),
            computed,
            adapter.held_blocks(scheduler, running, computed),
            lambda place: adapter.is_preemptible(scheduler, running[place]),
            (self._serial, places),
        )

    def follow(self, scheduler: Any, order: RunOrder) -> bool:
        """Order the running list by places in the last look; whether that could be done."""
        running = scheduler.running
        if not self._looked or len(order) != len(running):
            return False
        running[:] = self._running = [*map(self._running.__getitem__, order.places.tolist())]
        self._places = order.places
        return True

    def stepped(self, scheduler: Any, scheduler_output: Any) -> None:
        """The step that follows the look has been scheduled."""
        self._one_more = self._looked and adapter.scheduled_requests(scheduler_output) == len(scheduler.running)
        self._looked = False

    def _places_of(self, running: list[Any]) -> IntArray:
        """Where in the last views each of these was, -1 for who was not. Shape (n,)."""
        kept = _survivors(self._running, running)
        places = np.full(len(running), -1)
        places[: len(kept)] = self._places[kept]
        return places

    def _asked(self, running: list[Any], places: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Computed tokens of each, and whether more than one is lacking before the next comes out. Shape (n,) each."""
        if self._one_more and len(self._computed):
            computed = self._computed[places] + 1
            prefills = self._prefills[places] | (places < 0)
            asked = np.flatnonzero(prefills)
        else:
            computed, prefills = np.zeros(len(running), dtype=np.int64), np.zeros(len(running), dtype=np.bool_)
            asked = np.arange(len(running))
        of = running if len(asked) == len(running) else [running[place] for place in asked.tolist()]
        computed[asked] = found = adapter.computed_tokens_of(of)
        prefills[asked] = found < adapter.known_tokens_of(of) - 1
        return computed, prefills


def _survivors(before: list[Any], now: list[Any]) -> IntArray:
    """Places in `before` of the same objects that `now` begins with, which are in the same order. Shape (survivors,)."""
    stays = np.zeros(len(before), dtype=np.bool_)
    here = found = 0
    while here < len(before) and found < len(now):
        most, alike = min(len(before) - here, len(now) - found), 0
        while (
            alike < most
            and before[here + alike : here + alike + _AT_ONCE] == now[found + alike : found + alike + _AT_ONCE]
        ):
            alike += _AT_ONCE
        alike = min(alike, most)
        while alike < most and before[here + alike] is now[found + alike]:
            alike += 1
        stays[here : here + alike] = True
        here, found = here + alike + 1, found + alike
    return np.flatnonzero(stays)
