"""Clients that behave badly: requests no server can answer, connections that end in the middle of something."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field

from agents.local_server import MAX_MODEL_LEN, MODEL, LocalServer
from agents.soak_policies import pause

DISCONNECT, HALF_A_REQUEST = "disconnect_mid_stream", "half_a_request"
_PATH = "/v1/completions"
_READ_LIMIT_S = 120.0


def _request(**changes: object) -> bytes:
    return json.dumps({"model": MODEL, "prompt": [10, 11, 12], "max_tokens": 4, **changes}).encode()


MALFORMED: dict[str, tuple[bytes, int]] = {
    "no_json": (b'{"model": "tiny", "prompt": ', 400),
    "empty_body": (b"", 400),
    "no_prompt_type": (_request(prompt={"text": "w10"}), 400),
    "unknown_model": (_request(model="nobody"), 404),
    "no_tokens_asked": (_request(max_tokens=-1), 400),
    "oversize_prompt": (_request(prompt=[10] * (2 * MAX_MODEL_LEN)), 400),
    "oversize_answer": (_request(max_tokens=2 * MAX_MODEL_LEN), 400),
    "token_outside_vocabulary": (_request(prompt=[10**9]), 400),
    "negative_pace": (_request(vllm_xargs={"qoe_tds": -1}), 400),
    "nan_ttft": (b'{"model": "tiny", "prompt": "w10", "vllm_xargs": {"qoe_ttft": NaN}}', 400),
    "unknown_key": (_request(vllm_xargs={"qoe_speed": 3}), 400),
    "streamed_unknown_class": (_request(stream=True, vllm_xargs={"qoe_class": "vip"}), 400),
    "xargs_no_mapping": (_request(vllm_xargs=[1, 2]), 400),
}
"""Body and the status it must be answered with."""


@dataclass(slots=True)
class Vandalism:
    """What was done and what came of it.

    Args:
        answered: Malformed requests that got the status they must, by name.
        wrong: Other outcomes, by name and status.
        hung_up: Connections that were cut, by name.
    """

    answered: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    hung_up: Counter[str] = field(default_factory=Counter)


async def vandalise(server: LocalServer, rate: float, seed: int, stop: asyncio.Event, done: Vandalism) -> None:
    """One bad client after the other until `stop`, about `rate` a second, each kind in turn; `done` is kept up to date."""
    draw = random.Random(seed)
    turn = 0
    kinds = [*MALFORMED, DISCONNECT, HALF_A_REQUEST]
    while not stop.is_set():
        kind = kinds[turn % len(kinds)]
        try:
            await _one(server, kind, draw.randint(1, 20), done)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            done.wrong[f"{kind}: {type(error).__name__}"] += 1
        turn += 1
        await pause(stop, draw.expovariate(rate))


async def _one(server: LocalServer, kind: str, events: int, done: Vandalism) -> None:
    if kind in MALFORMED:
        await _malformed(server, kind, done)
        return
    await (_disconnect(server.port, events) if kind == DISCONNECT else _half_a_request(server.port))
    done.hung_up[kind] += 1


async def _malformed(server: LocalServer, kind: str, done: Vandalism) -> None:
    body, expected = MALFORMED[kind]
    status, _ = await asyncio.to_thread(server.post, _PATH, body)
    if status == expected:
        done.answered[kind] += 1
    else:
        done.wrong[f"{kind}: {status} instead of {expected}"] += 1


async def _disconnect(port: int, events: int) -> None:
    """Cut a stream off after so many events."""
    body = _request(max_tokens=MAX_MODEL_LEN - 100, ignore_eos=True, stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_head(len(body)) + body)
        for _ in range(events):
            await asyncio.wait_for(reader.readuntil(b"data: "), _READ_LIMIT_S)
    finally:
        writer.transport.abort()


async def _half_a_request(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_head(1000) + b'{"model": "tiny", "pro')
    await writer.drain()
    writer.transport.abort()


def _head(body_bytes: int) -> bytes:
    fields = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    return f"POST {_PATH} HTTP/1.1\r\n{fields}".encode()
