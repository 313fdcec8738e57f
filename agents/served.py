"""A server of this project for the length of a `with` block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from andes_engine.errors import AndesError

WAIT_S = 300.0
STOP_S = 60.0


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(
    command: Sequence[str], url: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until it answers, stop it at the end.

    Args:
        command: What starts it.
        url: Where it will answer.
        log: File for what it says.
        environment: Variables besides those of this process.

    Raises:
        AndesError: If it ends, or does not answer in time; the message has the end of its log.
    """
    told = {**os.environ, "VLLM_NO_USAGE_STATS": "1", **(environment or {})}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=told)
        try:
            _wait_until_it_answers(process, url, log)
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5.0):
                return
        except OSError:
            time.sleep(0.5)
    raise AndesError(f"the server did not come up; the end of {log}:\n{log.read_text(errors='replace')[-4000:]}")
