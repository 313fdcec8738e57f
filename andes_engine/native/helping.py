"""Native functions compiled at once: while this process compiles the first that is missing, others compile the rest.

They are `python -m andes_engine.native MODULE:NAME ...`, and hand over what they make as anybody does, in the folder of object
code. Whoever compiles a function holds a lock on it, so nothing is compiled twice, also where unrelated processes start at once.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from andes_engine.cores import available_cores

logger = logging.getLogger(__name__)

_helpers: list[subprocess.Popen[bytes]] = []

_MOST = 3
"""Processes to start: more would have nothing to do while the largest function is being compiled."""


@contextmanager
def claimed(path: Path, wait: bool = True) -> Iterator[bool]:
    """Whether nobody else is compiling what will be kept at `path`, and until the end of the block nobody will.

    With `wait` it waits for whoever is, to the end or to their death. Where no lock can be written nobody waits.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = path.with_suffix(".lock").open("w")
    except OSError:
        yield True
        return
    with file:
        yield _locked(file, wait)


def _locked(file: TextIO, wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        logger.warning("no lock on %s (%s): what others compile may be compiled again", file.name, error)
    return True


def start_helpers(names: Sequence[str]) -> None:
    """Have other processes compile these functions, given as ``module:name``, on the cores that this one leaves free.

    Those that are at it already are enough: they were given all that was missing.
    """
    if any(helper.poll() is None for helper in _helpers):
        return
    helpers = min(available_cores() - 1, _MOST, len(names))
    for helper in range(helpers):
        first = helper * len(names) // helpers
        _start([*names[first:], *names[:first]])


def _start(names: Sequence[str]) -> None:
    package = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{package.name}.native", *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for this process, which ends its helpers
        )
    except OSError as error:
        logger.warning("no process to compile in parallel (%s): one function after the other", error)
        return
    _helpers.append(process)
    atexit.register(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
