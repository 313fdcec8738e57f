"""Where the responses of a pane come from: a server, or a run of the simulator told again in real time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from andes_engine.client.completions import completion_body, completion_chunks
from andes_engine.client.server import Target
from andes_engine.records import RunRecord
from andes_engine.vllm.contenders import episode_requests
from andes_engine.workload import Workload

Source = Callable[[int, float], AsyncIterator[dict[str, Any]]]
"""Chunks of the response to a request, by its row and the event loop's time at which the replay began, s."""

TEXT = (
    "The server writes faster than people read so what comes early waits in a buffer and a response whose buffer is full "
    "can rest while another one starts its reader notices nothing as long as there is text left to read"
)
"""What a simulated response says, round and round: a simulator knows how many tokens there are, not which."""


def server_source(session: aiohttp.ClientSession, target: Target, workload: Workload, seed: int) -> Source:
    """Responses of a server; they are asked for when they are first read."""
    requests, salt = episode_requests(workload), uuid.uuid4().hex

    def chunks(row: int, start_s: float) -> AsyncIterator[dict[str, Any]]:
        return completion_chunks(session, target.url, completion_body(target.model, requests[row], seed, salt))

    return chunks


def simulated_source(record: RunRecord) -> Source:
    """Responses of a simulated run with recorded token times.

    Raises:
        ValueError: If the times were not recorded.
    """
    if not record.token_s:
        raise ValueError(f"run '{record.scheduler}' has no token times; run it again with token_log=True")

    words = TEXT.split()

    async def chunks(row: int, start_s: float) -> AsyncIterator[dict[str, Any]]:
        for place, token_s in enumerate(record.token_s[row]):
            await asyncio.sleep(start_s + float(token_s) - asyncio.get_running_loop().time())
            yield {"choices": [{"index": 0, "text": f"{words[place % len(words)]} "}]}

    return chunks
