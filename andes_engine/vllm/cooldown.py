"""Requests that were preempted and may not resume yet."""

from collections.abc import Callable
from typing import Any

from andes_engine.vllm import adapter


class Cooldown:
    """Keeps preempted requests off the engine until a later step has begun and none of their output is in flight.

    Resuming earlier would let late output of the old stint land on the new one (vLLM up to 0.26 corrupts text that way).
    """

    def __init__(self) -> None:
        """Nobody rests yet."""
        self._since_step: dict[str, int] = {}

    def start(self, request_id: str, step: int) -> None:
        """A request was preempted while `step` was planned or scheduled."""
        self._since_step[request_id] = step

    def __len__(self) -> int:
        """How many rest, or have rested and were not asked about since."""
        return len(self._since_step)

    def forget(self, request_id: str) -> None:
        """The request is gone."""
        self._since_step.pop(request_id, None)

    def resting(self, waiting: Callable[[str], Any | None], step: int) -> set[str]:
        """Which requests rest in `step`; `waiting` gives a request by its id, None if it is not waiting."""
        if not self._since_step:
            return set()
        asked = {name: waiting(name) for name in self._since_step}
        return {name for name, request in asked.items() if request is not None and self.rests(request, step)}

    def rests(self, request: Any, step: int) -> bool:
        """Whether a waiting request must not be admitted in `step`; ends the rest as soon as it is safe."""
        since_step = self._since_step.get(request.request_id)
        if since_step is None:
            return False
        if step - since_step < adapter.settle_steps(request) or adapter.in_flight(request):
            return True
        del self._since_step[request.request_id]
        return False
