"""A real server on this machine that ends with its owner: vLLM's HTTP server and engine core, our scheduler, a tiny model."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from agents.serve import SCHEDULER_CLASS
from agents.served import free_port, served
from andes_engine.vllm.local_model import ModelShape, build_local_model

REQUEST_LIMIT_S = 60.0
MODEL = "tiny"
MAX_MODEL_LEN = 512
MAX_BATCHED_TOKENS = 128
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
}


class LocalServer(NamedTuple):
    """A server that answers, its process and the files it was started with."""

    port: int
    folder: Path
    pid: int

    @property
    def url(self) -> str:
        """Of vLLM's OpenAI interface."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def policy(self) -> Path:
        """The file that names the policy in charge."""
        return self.folder / "policy.txt"

    @property
    def trace(self) -> Path:
        """Where decisions are recorded, if they are."""
        return self.folder / "trace.jsonl"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes) -> tuple[int, str]:
        """Send what no client would: bytes as they are."""
        return self._ask("POST", path, body)

    def complete(self, tokens: int) -> int:
        """Ask for so many tokens; how many came."""
        asked = {"model": MODEL, "prompt": "w10 w11", "max_tokens": tokens, "ignore_eos": True}
        status, text = self.post("/v1/completions", json.dumps(asked).encode())
        return int(json.loads(text)["usage"]["completion_tokens"]) if status == 200 else 0

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`, summed over the labels that are not given; 0 where there is none."""
        return sum(value for sample, has, value in self.samples() if sample == name and labels.items() <= has.items())

    def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """Name, labels and value of every sample of `/metrics`."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_LIMIT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@contextmanager
def local_server(
    folder: Path, andes: Mapping[str, object], extra: Sequence[str] = (), scheduler: str = SCHEDULER_CLASS
) -> Iterator[LocalServer]:
    """Start a server and stop it again.

    Args:
        folder: Where its model and its log go.
        andes: The configuration section `andes`.
        extra: Further arguments of `vllm serve`.
        scheduler: Its scheduler class.

    Raises:
        AndesError: With the end of its log, if the server does not come up.
    """
    port = free_port()
    model = build_local_model(folder, ModelShape(max_position_tokens=MAX_MODEL_LEN))
    command = [sys.executable, "-m", "andes_engine.vllm.launcher", "serve", str(model), "--port", str(port)]
    command += ["--served-model-name", MODEL, "--load-format", "dummy", "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", str(MAX_MODEL_LEN), "--max-num-batched-tokens", str(MAX_BATCHED_TOKENS)]
    command += ["--block-size", "32", "--num-gpu-blocks-override", "64", "--max-num-seqs", "16"]
    command += ["--scheduler-cls", scheduler, "--additional-config", json.dumps({"andes": dict(andes)}), *extra]
    with served(command, f"http://127.0.0.1:{port}", folder / "server.log", ENVIRONMENT) as process:
        yield LocalServer(port, folder, process.pid)
