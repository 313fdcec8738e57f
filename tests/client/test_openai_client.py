"""The pacer around the OpenAI client's own streams, over real sockets and in real time."""

from __future__ import annotations

import asyncio
import time

import pytest

from andes_engine.client import Pacer, Reader
from tests.client.scripted_server import Answer, Background, ScriptedServer

openai = pytest.importorskip("openai", reason="comes with vLLM: pip install 'andes-rl[cpu]'")

READER = Reader(ttft_s=0.0, tds=200.0)


async def endless(answer: Answer) -> None:
    while True:
        await answer.tokens()
        await asyncio.sleep(0.01)


async def cut_off(answer: Answer) -> None:
    for _ in range(3):
        await answer.tokens()
    await answer.event('{"error": {"message": "engine died"}}')


def stream_of(url: str) -> openai.Stream:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    return client.completions.create(model="m", prompt="", stream=True, extra_body={"vllm_xargs": READER.vllm_xargs})


def test_leaving_the_loop_hangs_up() -> None:
    server = ScriptedServer(default=endless)
    with Background(server) as running:
        for shown, _ in enumerate(Pacer(stream_of(running.url), READER)):
            if shown == 5:
                break
        deadline = time.monotonic() + 30.0
        while not server.left_s and time.monotonic() < deadline:
            time.sleep(0.01)
    assert list(server.left_s) == [0]


def test_an_error_in_the_stream_comes_after_the_tokens_before_it() -> None:
    shown = []
    with Background(ScriptedServer(default=cut_off)) as running, pytest.raises(openai.APIError, match="engine died"):
        for chunk in Pacer(stream_of(running.url), READER):
            shown.append(chunk.choices[0].text)
    assert shown == [" w"] * 3
