"""One streamed completion over HTTP, and every way in which it can fail, by name."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from andes_engine.client.sse import EventParser
from andes_engine.vllm.episode import EpisodeRequest

ABORTED = "aborted"
"""The reader left, as the workload says: no failure of the server."""
INTERRUPTED = "interrupted"
"""The replay ended before the response did."""
TIMEOUT = "timeout"
CONNECTION = "connection"
DISCONNECTED = "disconnected"
TRUNCATED = "truncated"
MALFORMED = "malformed"
SERVER_ERROR = "server_error"
TOO_FEW_TOKENS = "too_few_tokens"
TOO_MANY_TOKENS = "too_many_tokens"

_DETAIL_CHARS = 300
_JSON = {"Content-Type": "application/json"}


class StreamFailure(Exception):  # noqa: N818 - an outcome of a request, kept in its record
    """A response that did not end as it should.

    Args:
        kind: `http_STATUS`, or one of the names above: no connection, cut off, ended without ``[DONE]``, an event that is no
            chunk, an error that the server tells in the stream.
        detail: What exactly, in the words of whoever said it.
    """

    def __init__(self, kind: str, detail: object = "") -> None:
        self.kind, self.detail = kind, " ".join(str(detail).split())[:_DETAIL_CHARS]
        super().__init__(f"{kind}: {self.detail}")


def completion_body(model: str, request: EpisodeRequest, seed: int, cache_salt: str) -> bytes:
    """A request of a workload as JSON: random prompt, exactly its number of tokens, its reader's expectation.

    Args:
        model: Name of the model.
        request: What is asked.
        seed: Of the prompt.
        cache_salt: Only prompts with the same one are found in the server's prefix cache.
    """
    asked = {
        "model": model,
        "prompt": request.prompt_ids(seed),
        "max_tokens": request.output_tokens,
        "ignore_eos": True,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},  # says the tokens of each chunk
        "cache_salt": cache_salt,
        "vllm_xargs": request.extra_args,
    }
    return json.dumps(asked).encode()


async def completion_chunks(
    session: aiohttp.ClientSession, url: str, body: bytes
) -> AsyncGenerator[dict[str, Any], None]:
    """Chunks of a streamed completion until ``[DONE]``, each as it arrives. Nothing is sent twice.

    Args:
        session: Whose connections to use.
        url: Of the server, without path.
        body: The request as JSON, with ``"stream": true``.

    Raises:
        StreamFailure: If the response does not end as it should.
    """
    parser = EventParser()
    try:
        async with session.post(f"{url}/v1/completions", data=body, headers=_JSON) as response:
            if response.status != 200:
                raise StreamFailure(f"http_{response.status}", await response.text(errors="replace"))
            async for block in response.content.iter_any():
                for data in parser.feed(block):
                    if data == "[DONE]":
                        return
                    yield _chunk(data)
    except UnicodeDecodeError as error:
        raise StreamFailure(MALFORMED, error) from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise StreamFailure(CONNECTION, error) from error
    except aiohttp.ClientError as error:
        raise StreamFailure(DISCONNECTED, error) from error
    raise StreamFailure(TRUNCATED, "the stream ended without [DONE]")


def _chunk(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise StreamFailure(MALFORMED, f"{error}: {data}") from error
    if not isinstance(chunk, dict):
        raise StreamFailure(MALFORMED, data)
    if chunk.get("error"):
        raise StreamFailure(SERVER_ERROR, chunk["error"])
    if not isinstance(chunk.get("choices"), list):
        raise StreamFailure(MALFORMED, data)
    return chunk
