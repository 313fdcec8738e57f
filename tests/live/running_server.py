"""One real server for all tests that talk to one, with everything configured at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.local_server import MAX_BATCHED_TOKENS, MODEL, LocalServer, local_server
from andes_engine.vllm.keep_kv import KeepKv
from tests.engine.test_policy import make_bundle

__all__ = ["MAX_BATCHED_TOKENS", "MODEL", "RunningServer", "running_server", "wait_until"]

WAIT_S = 300.0
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"

RunningServer = LocalServer


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that will come, however slow the machine is."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {WAIT_S:.0f} s"
        time.sleep(0.05)


@contextmanager
def running_server(folder: Path) -> Iterator[RunningServer]:
    """Start a server and stop it again; a test fails with the end of its log if it does not come up."""
    make_bundle().save(folder / "first")
    (folder / "policy.txt").write_text("first\n")
    (folder / "chat.jinja").write_text(TEMPLATE)
    extra = ["--chat-template", str(folder / "chat.jinja"), "--enable-prompt-tokens-details"]
    extra += ["--kv-transfer-config", json.dumps(KeepKv(host_gib=1 / 16).transfer_config())]
    with local_server(folder, section(folder), extra) as server:
        yield server


def section(folder: Path) -> dict[str, object]:
    """Everything that can be configured at once."""
    return {
        "policy": str(folder / "policy.txt"),
        "policy_poll_s": 0.1,
        "classes": {"chat": {"ttft_s": 0.5, "tds": 8.0}},
        "ttft_per_prompt": True,
        "log": "json",
        "trace": {"path": str(folder / "trace.jsonl"), "max_mb": 64},
    }
