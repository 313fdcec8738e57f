"""A real `vllm serve` on the CPU, started with the project's launcher."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from andes_engine.vllm.local_model import ModelShape, build_local_model
from tests.engine.test_policy import make_bundle

START_LIMIT_S = 300.0
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server of the small local model under our scheduler with a policy, while it runs."""
    port = free_port()
    model = build_local_model(folder, ModelShape(max_position_tokens=512))
    command = [sys.executable, "-m", "andes_engine.vllm.launcher", "serve", str(model), "--port", str(port)]
    command += ["--load-format", "dummy", "--dtype", "float32", "--enforce-eager", "--max-model-len", "512"]
    command += ["--block-size", "32", "--num-gpu-blocks-override", "64", "--max-num-seqs", "16"]
    command += ["--scheduler-cls", "andes_engine.vllm.AndesScheduler"]
    command += ["--additional-config", json.dumps({"andes": {"policy": str(make_bundle().save(folder / "bundle"))}})]
    with (folder / "server.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT})
        try:
            wait_until_ready(process, port, folder / "server.log")
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
