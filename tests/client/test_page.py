"""The page that shows two schedulers side by side: its panes in virtual time, its server, and itself in a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from agents.cli import compose
from agents.demo_page import DemoPageConfig, serve_page
from agents.schema import from_mapping
from andes_engine.client.completions import StreamFailure
from andes_engine.client.page.app import SideBySide
from andes_engine.client.page.pane import Pane
from andes_engine.client.page.sources import simulated_source
from andes_engine.errors import AndesError
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.workload import Workload
from tests.browser import showing
from tests.client.scripted_server import Background, ScriptedServer
from tests.client.test_open_loop import asking
from tests.client.virtual_time import run_virtually
from tests.conftest import Refusal


def recorded(workload: Workload, *token_s: list[float]) -> RunRecord:
    times = [np.array(each) for each in token_s]
    return record_from_tokens(
        workload, "test", "fcfs", times, np.zeros(len(workload), np.int64), duration_s=99.0, prefill_tokens=0
    )


def test_a_pane_shows_what_its_readers_see() -> None:
    workload = asking([0.0, 2.0], latency_s=1.0)
    record = recorded(workload, [0.5, 0.5, 6.0], [9.0, 9.0, 9.0])

    async def task() -> tuple[list[dict[str, Any]], dict[str, Any]]:
        pane, seen = Pane("FCFS", simulated_source(record), workload, [0]), []
        running = asyncio.create_task(pane.run(0.0))
        for now_s in (0.25, 0.75, 1.5, 2.5, 4.5, 6.5):
            await asyncio.sleep(now_s - asyncio.get_running_loop().time())
            seen.append(pane.snapshot(now_s))
        await running
        return seen, pane.snapshot(20.0)

    seen, last = run_virtually(task())
    assert [shown["states"] for shown in seen] == [
        ["asked", "later"],
        ["asked", "later"],
        ["read", "later"],
        ["read", "asked"],
        ["wait", "wait"],
        ["done", "wait"],
    ]
    cards = [(card["shown"], card["buffered"]) for shown in seen for card in shown["cards"]]
    assert cards == [(0, 0), (0, 2), (1, 1), (2, 0), (2, 0), (3, 0)]
    assert seen[2]["cards"][0]["text"] == "The " and last["cards"][0]["text"] == "The server writes "
    assert [shown["waiting"] for shown in seen] == [0, 0, 0, 0, 2, 1]
    assert last["states"] == ["done", "done"] and last["qoe"] == pytest.approx(record.qoe.mean())
    means = [shown["qoe"] for shown in seen[3:]] + [last["qoe"]]
    assert means == sorted(means, reverse=True), "lateness is never made good"


def test_a_failed_response_fails_alone() -> None:
    workload = asking([0.0, 0.0])

    async def source(row: int, start_s: float) -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"text": "a"}]}
        if row == 0:
            raise StreamFailure("http_500")
        for _ in range(2):
            yield {"choices": [{"text": "b"}]}

    async def task() -> dict[str, Any]:
        pane = Pane("Andes", source, workload, [0, 1])
        await pane.run(0.0)
        return pane.snapshot(3.0)

    shown = run_virtually(task())
    assert shown["states"] == ["failed", "done"]
    assert [(card["state"], card["text"]) for card in shown["cards"]] == [("http_500", "a"), ("done", "abb")]


def test_every_looker_sees_the_same_replay_to_its_end() -> None:
    workload = asking([0.0])
    pane = Pane("FCFS", simulated_source(recorded(workload, [0.1, 0.2, 0.3])), workload, [0])

    async def look(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
        async with session.get(f"{url}/events") as response:
            text = await response.text()
        return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n") if event]

    async def task() -> None:
        runner = web.AppRunner(SideBySide([pane], "One request.").app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            early = asyncio.create_task(look(session, url))
            await asyncio.sleep(1.0)
            late = await look(session, url)
            seen = await early
            again = await look(session, url)
        assert seen[0]["time_s"] == pytest.approx(-0.5) and not seen[0]["done"]
        assert [shown["done"] for shown in (seen[-1], late[-1], again[-1])] == [True] * 3
        assert seen[-1]["panes"] == late[-1]["panes"] == again[-1]["panes"] and len(again) == 1
        await runner.cleanup()

    run_virtually(task(), settle_s=0.003)


def page_config(**given: object) -> DemoPageConfig:
    overrides = [f"{name}={value}" for name, value in {"port": 0, **given}.items()]
    return from_mapping(DemoPageConfig, compose("demo_page", *overrides))


def look_at(chromium: str, config: DemoPageConfig, folder: Path, until: str) -> tuple[list[str], dict[str, Any], bytes]:
    """Complaints of the page, what it shows once `until` is true, and its picture."""

    async def task() -> tuple[list[str], dict[str, Any], bytes]:
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        page = asyncio.create_task(serve_page(config, address.set_result))
        await asyncio.wait([page, address], return_when=asyncio.FIRST_COMPLETED)
        if page.done():
            page.result()
        async with showing(chromium, await address, folder / "profile") as tab:
            await tab.until(until)
            shown = await tab.value(SHOWN)
            picture = await tab.picture()
            complaints = list(tab.complaints)
        page.cancel()
        await asyncio.wait([page])
        return complaints, json.loads(shown), picture

    return asyncio.run(task())


BOTH_READ = """2 == [...document.querySelectorAll('.pane')]
  .filter(p => p.querySelector('.card span')?.textContent.length > 12).length"""
SHOWN = """JSON.stringify({
  about: document.getElementById('about').textContent,
  panes: [...document.querySelectorAll('.pane')].map(p => ({
    name: p.querySelector('h2').textContent, qoe: p.querySelector('.qoe').textContent,
    texts: [...p.querySelectorAll('.card span')].map(e => e.textContent),
    meta: [...p.querySelectorAll('.card .meta')].map(e => e.textContent),
    dots: p.querySelectorAll('.dots i').length, points: p.querySelector('polyline').points.length}))})"""


def check(shown: dict[str, Any], requests: int) -> None:
    assert [pane["name"] for pane in shown["panes"]] == ["FCFS", "Andes"]
    for pane in shown["panes"]:
        assert 0.0 < float(pane["qoe"]) <= 1.0 and len(pane["qoe"]) == 5
        assert pane["dots"] == requests and pane["points"] > 3
        assert pane["texts"][0] and all("QoE" in meta and "in the buffer" in meta for meta in pane["meta"])


def test_chromium_shows_both_panes_of_the_simulation(chromium: str, tmp_path: Path) -> None:
    given = {"source": "sim", "workload.duration_s": "null", "workload.requests": 9, "rate": 20}
    complaints, shown, picture = look_at(chromium, page_config(**given), tmp_path, BOTH_READ)
    assert complaints == []
    check(shown, 9)
    assert "9 requests" in shown["about"] and "simulated" in shown["about"]
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_chromium_shows_two_servers(chromium: str, tmp_path: Path) -> None:
    with Background(ScriptedServer()) as fcfs, Background(ScriptedServer()) as andes:
        given = {"fcfs": fcfs.url, "andes": andes.url, "workload.duration_s": "null", "workload.requests": 3}
        complaints, shown, _ = look_at(chromium, page_config(rate=20, **given), tmp_path, BOTH_READ)
    assert complaints == []
    check(shown, 3)
    assert [len(server.server.asked) for server in (fcfs, andes)] == [3, 3]
    prompts = [sorted(str(asked["prompt"]) for asked in server.server.asked) for server in (fcfs, andes)]
    assert prompts[0] == prompts[1], "the same requests"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no server for fcfs and andes; give fcfs=URL andes=URL, or source=sim"),
        ({"fcfs": "http://127.0.0.1:9"}, "no server for andes"),
        ({"source": "server"}, "Did you mean 'servers'"),
        ({"source": "sim", "rate": 0}, "rate = 0.0"),
    ],
)
def test_wrong_settings_are_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(AndesError, match=told):
        page_config(**given)


def test_a_port_that_is_taken_is_told() -> None:
    with Background(ScriptedServer()) as server:
        config = page_config(source="sim", port=server.url.rpartition(":")[2])
        with pytest.raises(AndesError, match="cannot be had"):
            asyncio.run(serve_page(config, pytest.fail))


def test_the_script_tells_wrong_settings_in_one_line(refusal: Refusal) -> None:
    assert refusal("demo_page") == "error: no server for fcfs and andes; give fcfs=URL andes=URL, or source=sim\n"


def test_times_must_be_recorded() -> None:
    workload = asking([0.0])
    with pytest.raises(ValueError, match="token_log=True"):
        simulated_source(RunRecord(workload, "e", "fcfs", *[np.ones(1)] * 4, np.ones(1, int), np.ones(1, int), 1.0, 0))
