"""A command stopped in the middle of its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def stopped(arguments: list[str], run_dir: Path, how: signal.Signals, more_than: int) -> tuple[int, str]:
    """Exit code and errors of `python -m ...` that got a signal after more than so many rows, with its workers if it is an
    interrupt.
    """
    running = subprocess.Popen(
        [sys.executable, "-m", *arguments, f"run_dir={run_dir}"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_heed_interrupts,
    )
    while finished(run_dir) <= more_than:
        assert running.poll() is None, "it ended before it could be stopped"
        time.sleep(0.01)
    (os.killpg if how is signal.SIGINT else os.kill)(running.pid, how)
    said = running.communicate(timeout=100)[1]
    return running.returncode, said


def finished(run_dir: Path) -> int:
    """Rows of a run directory and of the suites in it."""
    return sum(rows.read_bytes().count(b"\n") for rows in run_dir.rglob("rows.jsonl"))


def _heed_interrupts() -> None:
    """Tests that a shell runs in the background inherit that interrupts are ignored, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
