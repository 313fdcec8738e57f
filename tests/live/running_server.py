"""One real server for all tests that talk to one: vLLM's HTTP server and engine core, our scheduler, a tiny model."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from andes_engine.vllm.keep_kv import KeepKv
from andes_engine.vllm.local_model import ModelShape, build_local_model
from tests.engine.test_policy import make_bundle

WAIT_S = 300.0
MODEL = "tiny"
MAX_MODEL_LEN = 512
MAX_BATCHED_TOKENS = 128
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


class RunningServer(NamedTuple):
    """A server that answers, and the files it was started with."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def policy(self) -> Path:
        """The file that names the policy in charge."""
        return self.folder / "policy.txt"

    @property
    def trace(self) -> Path:
        return self.folder / "trace.jsonl"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def post(self, path: str, body: bytes) -> tuple[int, str]:
        """Send what no client would: bytes as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`, summed over the labels that are not given; 0 where there is none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that will come, however slow the machine is."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {WAIT_S:.0f} s"
        time.sleep(0.05)


@contextmanager
def running_server(folder: Path) -> Iterator[RunningServer]:
    """Start a server and stop it again; a test fails with the end of its log if it does not come up."""
    server = RunningServer(free_port(), folder)
    make_bundle().save(folder / "first")
    server.policy.write_text("first\n")
    (folder / "chat.jinja").write_text(TEMPLATE)
    model = build_local_model(folder, ModelShape(max_position_tokens=MAX_MODEL_LEN))
    command = [sys.executable, "-m", "andes_engine.vllm.launcher", "serve", str(model), "--port", str(server.port)]
    command += ["--served-model-name", MODEL, "--load-format", "dummy", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", str(MAX_MODEL_LEN), "--max-num-batched-tokens", str(MAX_BATCHED_TOKENS)]
    command += ["--block-size", "32", "--num-gpu-blocks-override", "64", "--max-num-seqs", "16"]
    command += ["--chat-template", str(folder / "chat.jinja"), "--enable-prompt-tokens-details"]
    command += ["--scheduler-cls", "andes_engine.vllm.AndesScheduler"]
    command += ["--additional-config", json.dumps({"andes": section(server)})]
    command += ["--kv-transfer-config", json.dumps(KeepKv(host_gib=1 / 16).transfer_config())]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        try:
            wait_until_ready(process, server)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def section(server: RunningServer) -> dict[str, object]:
    """Everything that can be configured at once."""
    return {
        "policy": str(server.policy),
        "policy_poll_s": 0.1,
        "classes": {"chat": {"ttft_s": 0.5, "tds": 8.0}},
        "ttft_per_prompt": True,
        "log": "json",
        "trace": {"path": str(server.trace), "max_mb": 64},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], server: RunningServer) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.get("/health")[0] == 200:
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not come up:\n{server.log[-4000:]}")
