"""Requests that were preempted and may not resume yet."""

from collections.abc import Iterable
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

    def forget(self, request_id: str) -> None:
        """The request is gone."""
        self._since_step.pop(request_id, None)

    def resting(self, requests: Iterable[Any], step: int) -> set[str]:
        """Which of the waiting requests rest in `step`."""
        known = self._since_step
        if not known:  # as at nearly every step
            return set()
        return {request.request_id for request in requests if request.request_id in known and self.rests(request, step)}

    def rests(self, request: Any, step: int) -> bool:
        """Whether a waiting request must not be admitted in `step`; ends the rest as soon as it is safe."""
        since_step = self._since_step.get(request.request_id)
        if since_step is None:
            return False
        if step - since_step < adapter.settle_steps(request) or adapter.in_flight(request):
            return True
        del self._since_step[request.request_id]
        return False
