"""A vLLM waiting queue with a gate: it stores every waiting request and shows vLLM only what the plan admits.

It replaces `Scheduler.waiting` once, for good. Nothing is moved between queues per step, so an exception cannot lose
a request. Contract from `vllm/v1/core/sched/request_queue.py` (0.32.0): `len`, iteration and the `remove_*` methods
concern all requests (vLLM counts and aborts with them), truth value, `peek` and `pop` concern what may be admitted
now.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping

from vllm.v1.core.sched.request_queue import RequestQueue
from vllm.v1.request import Request

from andes_engine.vllm import adapter


class GatedQueue(RequestQueue):
    """First come, first served while open; exactly the given requests in the given order while restricted."""

    def __init__(self, requests: Iterable[Request] = ()) -> None:
        """Start open, holding `requests` in their order."""
        self._stored: OrderedDict[str, Request] = OrderedDict()
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

    @property
    def stored(self) -> Mapping[str, Request]:
        """All waiting requests by id, in vLLM's order, visible or not; to read."""
        return self._stored

    def blocked(self) -> list[str]:
        """Stored requests that wait for something other than admission; asks only those that did when they came."""
        for request_id in [*self._came_blocked]:
            request = self._stored.get(request_id)
            if request is None or not adapter.is_blocked(request):
                del self._came_blocked[request_id]
        return [*self._came_blocked]

    def add_request(self, request: Request) -> None:
        """Append at the back."""
        self._stored[request.request_id] = request
        if adapter.is_blocked(request):
            self._came_blocked[request.request_id] = None

    def prepend_request(self, request: Request) -> None:
        """Put in front; vLLM does so with a preempted request."""
        self.add_request(request)
        self._stored.move_to_end(request.request_id, last=False)

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
        return self._stored.pop(head)

    def remove_request(self, request: Request) -> None:
        """Take one request out, visible or not; ValueError if it is not stored, as with vLLM's deque."""
        if self._stored.pop(request.request_id, None) is None:
            raise ValueError(f"request {request.request_id!r} is not in the waiting queue")

    def remove_requests(self, requests: Iterable[Request]) -> None:
        """Take requests out, visible or not; ones that are not stored are passed over."""
        for request in requests:
            self._stored.pop(request.request_id, None)

    def __bool__(self) -> bool:
        """Whether anything may be admitted now."""
        return self._head() is not None

    def __len__(self) -> int:
        """Number of waiting requests, visible or not."""
        return len(self._stored)

    def __iter__(self) -> Iterator[Request]:
        """All waiting requests in vLLM's order, visible or not."""
        return iter(list(self._stored.values()))

    def _head(self) -> str | None:
        if self._admitted is None:
            return next(iter(self._stored), None)
        while self._admitted and self._admitted[0] not in self._stored:
            self._admitted.popleft()
        return self._admitted[0] if self._admitted else None
