"""Load generator and pacer against a real `vllm serve`."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.cli import compose
from agents.config import WorkloadSettings
from agents.demo_page import DemoPageConfig, serve_page
from agents.load import LoadConfig, load
from agents.schema import from_mapping
from andes_engine.client import AsyncPacer, Pacer, Reader
from andes_engine.client.open_loop import OpenLoop, open_session
from andes_engine.client.server import find_target
from andes_engine.qoe import headline_qoe
from andes_engine.workload import Workload
from tests.live.running_server import RunningServer
from tests.live.stubs import NEEDS_VLLM

pytestmark = [pytest.mark.slow, *NEEDS_VLLM]

ASKED = {"prompt": [10, 11, 12], "max_tokens": 12, "temperature": 0.0, "stream": True}
READER = Reader(ttft_s=0.1, tds=20.0)
EXTRA = {"ignore_eos": True, "vllm_xargs": READER.vllm_xargs, "return_token_ids": True}
"""A busy server puts several tokens into a chunk; only with their ids does a client know how many (`ChunkTokens`)."""


@pytest.fixture
def port(served: RunningServer) -> int:
    return served.port


def test_every_token_of_a_burst_is_measured(port: int, tmp_path: Path) -> None:
    """40 requests at once on 16 places, a third of the readers impatient; one request is longer than the model allows."""
    traffic = WorkloadSettings(
        "tiny", lengths="tiny", requests=40, patience={"mean_s": 2.0, "share": 0.3}, on_too_long="drop"
    )
    result = load(LoadConfig(1, str(tmp_path / "load"), f"http://127.0.0.1:{port}", traffic, rate=20.0))
    record, notes = result.record, result.record.notes
    assert notes["failed"] == 0.0, result.sentences
    stayed = np.isinf(record.workload.abort_s)
    assert (record.emitted_tokens == record.workload.output_tokens)[stayed].all()
    assert record.finished[stayed].all() and (record.emitted_tokens <= record.workload.output_tokens).all()
    assert notes["aborted"] == (~record.finished).sum()
    assert notes["server_preemptions"] >= 0.0
    for row in np.flatnonzero(record.finished):
        delivery_s = record.token_s[row] - record.workload.arrival_s[row]
        assert (np.diff(delivery_s) >= 0).all()
        asked = record.workload
        assert record.qoe[row] == headline_qoe(delivery_s, asked.ttft_s[row], asked.latency_s[row])
    entry = json.loads((tmp_path / "load" / "results.json").read_text())["runs"][0]
    assert entry["requests"] == len(record.workload) and entry["fingerprint"] == record.workload.fingerprint


def test_a_refused_request_is_kept_in_the_record(port: int, tmp_path: Path) -> None:
    """Longer than `--max-model-len`, sent past the check that `load` makes first."""
    workload = Workload(
        "long", *(np.array(column) for column in ([0.0, 0.1], [8, 600], [4, 4], [1.0, 1.0], [0.2, 0.2]))
    )

    async def task() -> OpenLoop:
        async with open_session() as session:
            loop = OpenLoop(session, await find_target(session, f"http://127.0.0.1:{port}", None), workload)
            await loop.run()
            return loop

    sent = asyncio.run(task()).sent
    assert sent[0].failure == "" and len(sent[0].token_s) == 4
    assert sent[1].failure == "http_400" and "512" in sent[1].detail


def test_the_page_shows_real_answers(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    overrides = [
        "workload.duration_s=null",
        "workload.requests=6",
        "workload.readers=0.01",
        "rate=20",
        "port=0",
        "cards=6",
    ]
    config = from_mapping(DemoPageConfig, compose("demo_page", f"fcfs={url}", f"andes={url}", *overrides))

    async def task() -> dict[str, Any]:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        page = asyncio.create_task(serve_page(config, address.set_result))
        await asyncio.wait([page, address], return_when=asyncio.FIRST_COMPLETED)
        async with open_session() as session, session.get(f"{await address}/events") as response:
            *_, last, _ = (await response.text()).split("\n\n")
        page.cancel()
        await asyncio.wait([page])
        return json.loads(last.removeprefix("data: "))

    seen = asyncio.run(task())
    assert seen["done"] and [pane["name"] for pane in seen["panes"]] == ["FCFS", "Andes"]
    for pane in seen["panes"]:
        assert pane["states"] == ["done"] * 6 and 0.0 < pane["qoe"] <= 1.0
        assert all(card["shown"] == card["tokens"] and card["text"].split() for card in pane["cards"])


def test_the_openai_client_is_paced(port: int) -> None:
    import openai

    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    model = client.models.list().data[0].id
    sent_s = time.monotonic()
    stream = client.completions.create(model=model, **ASKED, extra_body=EXTRA)
    pacer = Pacer(stream, READER, sent_s=sent_s)
    text = "".join(chunk.choices[0].text for chunk in pacer)
    reading = pacer.reading
    assert len(text.split()) == len(reading.delivered_s) == len(reading.consumed_s) == 12
    assert (np.diff(reading.consumed_s) >= READER.latency_s - 1e-9).all() and reading.consumed_s[0] >= READER.ttft_s
    assert (np.array(reading.consumed_s) >= np.array(reading.delivered_s)).all()


def test_the_asynchronous_client_is_paced_and_hangs_up(port: int) -> None:
    import openai

    async def task() -> list[str]:
        client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
        model = (await client.models.list()).data[0].id
        shown = []
        stream = await client.completions.create(model=model, **{**ASKED, "max_tokens": 400}, extra_body=EXTRA)
        async with AsyncPacer(stream, READER) as pacer:
            async for chunk in pacer:
                shown.append(chunk.choices[0].text)
                if len(shown) == 5:
                    break
        assert stream.response.is_closed
        return shown

    assert len(asyncio.run(task())) == 5
