"""What a server tells of itself: the model it serves, how long a request may be, what it counts."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from andes_engine.errors import AndesError

PREEMPTIONS = "vllm:num_preemptions"
"""vLLM's counter, under its name without `_total` (vllm/v1/metrics/loggers.py, 0.32.0)."""


class Target(NamedTuple):
    """Where to send requests.

    Args:
        url: Of the server, without path.
        model: Name of the model to ask.
        max_model_len_tokens: Prompt and output together that one request may have; None if the server does not say.
    """

    url: str
    model: str
    max_model_len_tokens: int | None


async def find_target(session: aiohttp.ClientSession, url: str, model: str | None) -> Target:
    """The server's model by name, or its first.

    Raises:
        AndesError: If the URL is none, nobody answers there, or the model is not served.
    """
    url = url.rstrip("/").removesuffix("/v1")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise AndesError(f"url = '{url}' is none; give one like url=http://127.0.0.1:8000")
    try:
        async with session.get(f"{url}/v1/models") as response:
            response.raise_for_status()
            served = (await response.json())["data"]
            names = [entry["id"] for entry in served]
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        raise AndesError(
            f"no OpenAI-compatible server answers at {url}/v1/models ({error!r}); start one with python -m scripts.serve, "
            "or give another url"
        ) from error
    if not names or (model is not None and model not in names):
        raise AndesError(
            f"{url} serves {', '.join(names) or 'no model'}, not '{model}'; give model=NAME, or leave it out"
        )
    entry = served[0 if model is None else names.index(model)]
    return Target(url, entry["id"], entry.get("max_model_len"))


async def server_preemptions(session: aiohttp.ClientSession, url: str) -> float | None:
    """Preemptions of a vLLM server since it started, or None where it does not tell."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        async with session.get(f"{url}/metrics") as response:
            text = await response.text() if response.status == 200 else ""
        families = [family for family in text_string_to_metric_families(text) if family.name == PREEMPTIONS]
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    if not families:
        return None
    return sum(sample.value for family in families for sample in family.samples if sample.name.endswith("_total"))
