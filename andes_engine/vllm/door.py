"""The door of the HTTP server: a request whose expectation makes no sense gets HTTP 400 and never reaches the scheduler.

vLLM's official hook for this is ASGI middleware: `--middleware andes_engine.vllm.door.RefuseBadExpectations` (`andes-vllm` and
`scripts.serve` add it). It answers before a response has begun, so a streaming request is refused with a status as well;
vLLM validates sampling parameters (a logits processor's `validate_params`) only inside the stream, after it has sent 200
(`vllm/v1/engine/async_llm.py`, 0.32.0). It runs before vLLM checks API keys, as every `--middleware` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from andes_engine.errors import ExpectationError
from andes_engine.expectations import PREFIX, Expectations, shown
from andes_engine.vllm.section import andes_section

FIELD = "vllm_xargs"
"""Where vLLM takes a request's extra arguments from."""


class RefuseBadExpectations:
    """ASGI middleware. A request without the letters `qoe_` costs one search of its body; only others are parsed here."""

    def __init__(self, app: Any) -> None:
        """Stand before `app`."""
        self._app = app
        self._expectations: Expectations | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer 400."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        messages = await _all_of(receive)
        problem = self._problem(scope, b"".join(message.get("body", b"") for message in messages))
        if problem is None:
            await self._app(scope, _again(messages, receive), send)
        else:
            await _refuse(problem, send)

    def _problem(self, scope: Any, body: bytes) -> ExpectationError | None:
        request = speaks_of_readers(body)
        if request is None:
            return None
        if self._expectations is None:
            self._expectations = Expectations.from_section(andes_section(scope["app"].state.vllm_config))
        try:
            check_request(request, self._expectations)
        except ExpectationError as error:
            return error
        return None


def speaks_of_readers(body: bytes) -> dict[str, Any] | None:
    """The request in a JSON body that may hold `qoe_` keys; None where there are none, or where it is vLLM's to refuse."""
    if PREFIX.encode() not in body and b"\\u" not in body:  # any letter of a key may also be written as an escape
        return None
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def check_request(request: Mapping[str, Any], expectations: Expectations) -> None:
    """Refuse a request that asks for nonsense, or asks in the wrong place, where vLLM would pass it over.

    Raises:
        ExpectationError: Naming the key, what was given and what is allowed.
    """
    for key, value in request.items():
        if key.startswith(PREFIX):
            raise ExpectationError(key, shown(value), f"belongs inside {FIELD}: {{'{FIELD}': {{'{key}': ...}}}}")
    asked = request.get(FIELD)
    if isinstance(asked, dict):
        expectations.check(asked)


async def _all_of(receive: Any) -> list[dict[str, Any]]:
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: list[dict[str, Any]], receive: Any) -> Any:
    """A `receive` that tells the messages once more, then goes on with the client's."""
    told = iter(messages)

    async def once_more() -> Any:
        message = next(told, None)
        return await receive() if message is None else message

    return once_more


async def _refuse(problem: ExpectationError, send: Any) -> None:
    """Answer in the form of vLLM's own errors (`vllm/entrypoints/serve/engine/protocol.py`, 0.32.0)."""
    error = {"message": str(problem), "type": "BadRequestError", "param": problem.key, "code": 400}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
