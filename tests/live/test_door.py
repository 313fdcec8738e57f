"""The door before vLLM's HTTP server: what it lets through unchanged, and what it refuses, as plain ASGI."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from andes_engine.vllm.door import RefuseBadExpectations

CONFIG = SimpleNamespace(additional_config={"andes": {"classes": {"chat": {"tds": 8.0}}, "scheduler": "andes"}})


class Server:
    """Remembers what reached it, answers 200."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            message = {"more_body": True}
            while message.get("more_body"):
                message = await receive()
                self.received.append(message)
            self.received.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})


def post(body: bytes | dict[str, Any], method: str = "POST", kind: str = "http") -> tuple[Server, list[dict[str, Any]]]:
    """Send a body in two pieces, then hang up."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pieces = [
        {"type": "http.request", "body": raw[:7], "more_body": True},
        {"type": "http.request", "body": raw[7:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    incoming, outgoing, server = iter(pieces), [], Server()

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def send(message: dict[str, Any]) -> None:
        outgoing.append(message)

    scope = {"type": kind, "method": method, "app": SimpleNamespace(state=SimpleNamespace(vllm_config=CONFIG))}
    asyncio.run(RefuseBadExpectations(server)(scope, receive, send))
    if server.received:
        assert server.received == pieces
    return server, outgoing


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "no reader named"},
        {"prompt": "x", "vllm_xargs": {"qoe_ttft": 0.5, "qoe_tds": 10, "qoe_user": "ada", "other": 1}},
        {"prompt": "x", "vllm_xargs": {"qoe_class": "chat"}},
        {"prompt": "the word qoe_ttft in a text"},
        {"prompt": "qoe_", "vllm_xargs": "not a mapping, which vLLM refuses"},
        b"qoe_ but no JSON",
        b'["qoe_tds"]',
        b"[" * 100_000 + b"qoe_",
        b"",
    ],
)
def test_everything_else_passes_unchanged(body: bytes | dict[str, Any]) -> None:
    server, outgoing = post(body)
    assert server.received
    assert [message["status"] for message in outgoing] == [200]


@pytest.mark.parametrize(
    ("body", "key", "message"),
    [
        ({"vllm_xargs": {"qoe_tds": -1}}, "qoe_tds", "qoe_tds = -1: must be a number of tokens/s > 0"),
        (b'{"vllm_xargs": {"qoe_ttft": NaN}}', "qoe_ttft", "qoe_ttft = nan: must be"),
        (b'{"vllm_xargs": {"qoe\\u005ftds": "fast"}}', "qoe_tds", "qoe_tds = 'fast': must be"),
        ({"vllm_xargs": {"qoe_class": "vip"}}, "qoe_class", "one of the server's classes: chat"),
        ({"vllm_xargs": {"qoe_speed": 1}}, "qoe_speed", "unknown key 'qoe_speed'"),
        ({"qoe_tds": 5}, "qoe_tds", "qoe_tds = 5: belongs inside vllm_xargs: {'vllm_xargs': {'qoe_tds': ...}}"),
    ],
)
def test_nonsense_gets_400_and_never_reaches_the_server(body: bytes | dict[str, Any], key: str, message: str) -> None:
    server, (start, end) = post(body)
    assert server.received == []
    assert start["status"] == 400
    error = json.loads(end["body"])["error"]
    assert message in error["message"]
    assert (error["param"], error["code"], error["type"]) == (key, 400, "BadRequestError")


def test_what_is_no_post_is_not_looked_at() -> None:
    bad = {"vllm_xargs": {"qoe_tds": -1}}
    assert post(bad, method="PUT")[0].received
    assert post(bad, kind="websocket")[1]
