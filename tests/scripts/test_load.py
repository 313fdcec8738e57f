"""Load from the command line, against a scripted server."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.build import workload_at_rate
from agents.config import WorkloadSettings
from agents.load import LoadConfig, load
from agents.schema import ConfigError
from andes_engine.errors import AndesError, CapacityError
from andes_engine.qoe import headline_qoe
from tests.client.scripted_server import MODEL, Answer, Background, ScriptedServer
from tests.conftest import Refusal
from tests.scripts.test_cli import script


async def refused(answer: Answer) -> None:
    await answer.refuse(400, "no [bold]room[/bold]")


@pytest.fixture
def background() -> Iterator[Background]:
    server = ScriptedServer({2: refused})
    server.preemptions = 0
    with Background(server) as running:
        yield running


SMALL = ("workload=tiny", "workload.duration_s=null", "workload.requests=8", "rate=100")


def test_load_from_the_command_line(background: Background, tmp_path: Path) -> None:
    run = tmp_path / "load"
    said = script("load", f"url={background.url}", "name=mine", f"run_dir={run}", *SMALL).stdout
    assert "mine" in said and "QoE mean" in said and "1 failed, 1 http_400." in said
    assert "Request 2 http_400: no [bold]room[/bold]" in said
    assert f"{run}/report.html" in said and "<svg" in (run / "report.html").read_text()

    lines = [json.loads(line) for line in (run / "requests.jsonl").read_text().splitlines()]
    assert [line["request"] for line in lines] == list(range(8))
    assert [line["failure"] for line in lines] == ["", "", "http_400", *[""] * 5]
    for line in (line for line in lines if not line["failure"]):
        assert len(line["token_s"]) == line["output_tokens"] and line["sent_s"] >= line["arrival_s"]
        delivery_s = np.array(line["token_s"]) - line["arrival_s"]
        assert line["qoe"] == pytest.approx(headline_qoe(delivery_s, line["ttft_s"], line["latency_s"]))
    assert [len(asked["prompt"]) for asked in background.server.asked if asked["vllm_xargs"]["qoe_id"] == "0"] == [
        lines[0]["prompt_tokens"]
    ]

    (entry,) = json.loads((run / "results.json").read_text())["runs"]
    assert (entry["contender"], entry["engine"]) == ("mine", f"{MODEL} at {background.url}")
    assert entry["notes"]["server_preemptions"] == 3.0 and entry["metrics"]["unfinished"] == 1.0
    assert entry["metrics"]["preemptions_per_request"] is None
    assert {"config.yaml", "versions.json"} <= {path.name for path in run.iterdir()}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["url=http://127.0.0.1:9"], "no OpenAI-compatible server answers at http://127.0.0.1:9/v1/models"),
        (["rate=0"], "rate = 0.0 must be finite and > 0"),
        (["trace=nowhere.csv"], "nowhere.csv: no such file"),
        (["workload.patience={mean_s: -1}"], "mean_s"),
    ],
)
def test_wrong_input_is_told_in_one_line(overrides: list[str], told: str, tmp_path: Path, refusal: Refusal) -> None:
    assert told in refusal("load", f"run_dir={tmp_path / 'load'}", *overrides)
    assert not (tmp_path / "load" / "config.yaml").exists()


def config(background: Background, run: Path, **settings: object) -> LoadConfig:
    given = {"name": "tiny", "lengths": "tiny", "requests": 12, **settings}
    return LoadConfig(0, str(run), background.url, WorkloadSettings(**given), rate=100.0)  # type: ignore[arg-type]


def test_requests_too_long_for_the_server(background: Background, tmp_path: Path) -> None:
    workload = workload_at_rate(config(background, tmp_path).workload, 0, 100.0)
    lengths = np.sort(workload.prompt_tokens + workload.output_tokens)
    background.server.max_model_len = int(lengths[8])
    with pytest.raises(CapacityError, match=f"127.0.0.1:.* holds {lengths[8]} per request; serve with a larger"):
        load(config(background, tmp_path / "refused"))
    assert not background.server.asked and not (tmp_path / "refused").exists()
    result = load(config(background, tmp_path / "dropped", on_too_long="drop"))
    kept = int((lengths <= lengths[8]).sum())
    assert len(result.record.workload) == kept
    assert f"{12 - kept} requests were longer than the server takes and were not sent." in result.sentences


def test_ctrl_c_keeps_what_went_out(tmp_path: Path) -> None:
    async def endless(answer: Answer) -> None:
        while True:
            await answer.tokens()
            await asyncio.sleep(0.01)

    server = ScriptedServer(default=endless)
    with Background(server) as running:
        asked = config(running, tmp_path, requests=5, arrivals={"kind": "poisson"})

        def interrupt() -> None:
            while len(server.asked) < 3:
                time.sleep(0.01)
            signal.raise_signal(signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=interrupt, daemon=True).start()
        result = load(replace(asked, rate=2.0))
        signal.signal(signal.SIGINT, before)
    sent = len(result.record.workload)
    assert 3 <= sent <= 5 and result.record.notes["failed_interrupted"] == result.record.notes["failed"] >= 1.0
    assert len((tmp_path / "requests.jsonl").read_text().splitlines()) == sent


def test_a_run_directory_is_not_used_twice(background: Background, tmp_path: Path) -> None:
    load(config(background, tmp_path))
    sent = len(background.server.asked)
    with pytest.raises(ConfigError, match="holds a run already"):
        load(config(background, tmp_path))
    assert len(background.server.asked) == sent


def test_a_trace_goes_out_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("Timestamp,Request tokens,Response tokens\n10,5,2\n12,6,3\n16,7,4\n")
    settings = WorkloadSettings("trace", trace=str(path))
    recorded = workload_at_rate(settings, 0, 9.0)
    assert recorded.arrival_s.tolist() == [0.0, 2.0, 6.0] and recorded.output_tokens.tolist() == [2, 3, 4]
    rescaled = WorkloadSettings("trace", trace=str(path), rescale=True)
    assert workload_at_rate(rescaled, 0, 1.0).arrival_s.tolist() == [0.0, 1.0, 3.0]
    with pytest.raises(AndesError, match="multi_round"):
        workload_at_rate(WorkloadSettings("trace", trace=str(path), multi_round=3.0), 0, 1.0)
