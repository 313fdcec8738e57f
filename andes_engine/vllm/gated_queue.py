"""A vLLM waiting queue with a gate: it stores every waiting request and shows vLLM only what the plan admits.

It replaces `Scheduler.waiting` once, for good. Nothing is moved between queues per step, so an exception cannot lose
a request. Contract from `vllm/v1/core/sched/request_queue.py` (0.32.0): `len`, iteration and the `remove_*` methods
concern all requests (vLLM counts and aborts with them), truth value, `peek` and `pop` concern what may be admitted
now.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from vllm.v1.core.sched.request_queue import RequestQueue
from vllm.v1.request import Request

from andes_engine.vllm import adapter


class GatedQueue(RequestQueue):
    """First come, first served while open; exactly the given requests in the given order while restricted."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        """Start open, holding `requests` in their order."""
        self._stored: dict[str, Request] = {}
        self._order: list[str] = []
        self._came: dict[str, None] = {}
        self._came_blocked: dict[str, None] = {}
        self._admitted: deque[str] | None = None
        for request in requests:
            self.add_request(request)

    def open(self) -> None:
        """Show everything, in vLLM's order."""
        self._admitted = None

    def restrict(self, request_ids: Iterable[str]) -> None:
        """Show only these requests, in this order; ids that are not stored are passed over."""
        self._admitted = deque(request_ids)

    def get(self, request_id: str) -> Request | None:
        """The stored request of this id, visible or not."""
        return self._stored.get(request_id)

    def stored(self) -> list[str]:
        """Ids of all waiting requests in vLLM's order, visible or not: one list, to read, which changes with the queue."""
        return self._order

    def take_arrivals(self) -> list[str]:
        """Who of them has come since this was asked last."""
        came = [*self._came]
        self._came.clear()
        return came

    def blocked(self) -> list[str]:
        """Stored requests that wait for something other than admission; asks only those that did when they came."""
        for request_id in [*self._came_blocked]:
            request = self._stored.get(request_id)
            if request is None or not adapter.is_blocked(request):
                del self._came_blocked[request_id]
        return [*self._came_blocked]

    def add_request(self, request: Request) -> None:
        """Append at the back."""
        self._insert(len(self._order), request)

    def prepend_request(self, request: Request) -> None:
        """Put in front; vLLM does so with a preempted request."""
        self._insert(0, request)

    def _insert(self, place: int, request: Request) -> None:
        request_id = request.request_id
        if request_id in self._stored:
            self._take(request_id)
        self._order.insert(place, request_id)
        self._stored[request_id] = request
        self._came[request_id] = None
        if adapter.is_blocked(request):
            self._came_blocked[request_id] = None

    def prepend_requests(self, requests: Iterable[Request]) -> None:
        """Put in front one after the other, so that the last one given ends up first, as vLLM's own queue does."""
        for request in requests:
            self.prepend_request(request)

    def peek_request(self) -> Request:
        """The next request that may be admitted."""
        head = self._head()
        if head is None:
            raise IndexError("peek from an empty queue")
        return self._stored[head]

    def pop_request(self) -> Request:
        """Take the next request that may be admitted."""
        head = self._head()
        if head is None:
            raise IndexError("pop from an empty queue")
        if self._admitted is not None:
            self._admitted.popleft()
        return self._take(head)

    def _take(self, request_id: str) -> Request:
        self._order.remove(request_id)
        self._came.pop(request_id, None)
        return self._stored.pop(request_id)

    def remove_request(self, request: Request) -> None:
        """Take one request out, visible or not; ValueError if it is not stored, as with vLLM's deque."""
        if request.request_id not in self._stored:
            raise ValueError(f"request {request.request_id!r} is not in the waiting queue")
        self._take(request.request_id)

    def remove_requests(self, requests: Iterable[Request]) -> None:
        """Take requests out, visible or not; ones that are not stored are passed over."""
        for request in requests:
            if request.request_id in self._stored:
                self._take(request.request_id)

    def __bool__(self) -> bool:
        """Whether anything may be admitted now."""
        return self._head() is not None

    def __len__(self) -> int:
        """Number of waiting requests, visible or not."""
        return len(self._stored)

    def __iter__(self) -> Iterator[Request]:
        """All waiting requests in vLLM's order, visible or not."""
        return iter([*map(self._stored.__getitem__, self._order)])

    def _head(self) -> str | None:
        if self._admitted is None:
            return self._order[0] if self._order else None
        while self._admitted and self._admitted[0] not in self._stored:
            self._admitted.popleft()
        return self._admitted[0] if self._admitted else None
