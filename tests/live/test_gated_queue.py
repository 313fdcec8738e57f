"""The gate shows what the plan admits and never loses a request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM


def named(*names: str) -> list[Any]:
    return [SimpleNamespace(request_id=name, status=status()) for name in names]


def status(name: str = "WAITING") -> Any:
    from vllm.v1.request import RequestStatus

    return RequestStatus[name]


def make_queue(*names: str) -> Any:
    from andes_engine.vllm.gated_queue import GatedQueue

    return GatedQueue(named(*names))


def drain(queue: Any) -> list[str]:
    popped = []
    while queue:
        head = queue.peek_request()
        assert queue.pop_request() is head
        popped.append(head.request_id)
    return popped


def test_open_queue_is_first_come_first_served() -> None:
    assert drain(make_queue("a", "b", "c")) == ["a", "b", "c"]


def test_restricted_queue_shows_the_plan_in_its_order() -> None:
    queue = make_queue("a", "b", "c", "d")
    queue.restrict(["d", "b", "nobody"])
    assert [r.request_id for r in queue] == ["a", "b", "c", "d"]
    assert len(queue) == 4
    assert drain(queue) == ["d", "b"]
    assert len(queue) == 2
    queue.open()
    assert drain(queue) == ["a", "c"]


def test_nothing_admitted_is_false_but_not_empty() -> None:
    queue = make_queue("a")
    queue.restrict([])
    assert not queue
    assert len(queue) == 1
    with pytest.raises(IndexError, match="empty"):
        queue.peek_request()
    with pytest.raises(IndexError, match="empty"):
        queue.pop_request()


def test_prepending_is_like_vllms_own_queue() -> None:
    from vllm.v1.core.sched.request_queue import FCFSRequestQueue

    ours, theirs = make_queue("a"), FCFSRequestQueue(named("a"))
    for queue in (ours, theirs):
        queue.prepend_requests(named("b", "c"))
        queue.prepend_request(*named("d"))
        queue.add_request(*named("e"))
    assert [r.request_id for r in ours] == [r.request_id for r in theirs]


def test_a_skipped_request_is_not_seen_twice_in_one_scan() -> None:
    queue = make_queue("a", "b")
    queue.restrict(["a", "b"])
    queue.prepend_request(queue.pop_request())
    assert drain(queue) == ["b"]
    assert [r.request_id for r in queue] == ["a"]


def test_removal_concerns_hidden_requests_too() -> None:
    queue = make_queue("a", "b", "c")
    queue.restrict(["a", "b"])
    queue.remove_request(*named("a"))
    queue.remove_requests(named("c", "nobody"))
    assert drain(queue) == ["b"]
    assert len(queue) == 0
    with pytest.raises(ValueError, match="'a' is not in"):
        queue.remove_request(*named("a"))


def test_who_came_blocked_is_named_until_free_or_gone() -> None:
    queue = make_queue("a")
    grammar, session, brief = named("grammar", "session", "brief")
    for request in (grammar, session, brief):
        request.status = status("WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR")
    queue.add_request(grammar)
    queue.add_request(brief)
    queue.prepend_request(session)
    assert sorted(queue.blocked()) == ["brief", "grammar", "session"]
    queue.remove_request(brief)
    grammar.status = status()
    assert queue.blocked() == ["session"]
