"""Memory of a server's processes over time: does it grow for good?"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import numpy as np
import psutil  # type: ignore[import-untyped]  # comes with vLLM
from numpy.typing import NDArray
from scipy.stats import theilslopes

from agents.local_server import LocalServer
from agents.soak_policies import pause
from andes_engine.errors import AndesError

FloatArray = NDArray[np.float64]

ENGINE, FRONT_END = "engine core", "front end"
_ENGINE_TITLE = "EngineCore"  # vllm/v1/engine/core.py, `set_process_title`, 0.32.0
_MIB = 2.0**20


class Memory(NamedTuple):
    """Resident memory of one process, MiB.

    Args:
        first_mib: At the first sample.
        settled_mib: At the end of the warm-up.
        last_mib: At the last sample.
        growth_mib: Theil-Sen slope after the warm-up, times the time since: what one outlier does not move.
        per_hour_mib: The same slope for an hour.
        samples: Samples after the warm-up.
    """

    first_mib: float
    settled_mib: float
    last_mib: float
    growth_mib: float
    per_hour_mib: float
    samples: int


def processes(server: LocalServer) -> dict[str, psutil.Process]:
    """The server's two processes.

    Raises:
        AndesError: If one is gone.
    """
    try:
        front_end = psutil.Process(server.pid)
        found = [child for child in front_end.children(recursive=True) if _ENGINE_TITLE in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        found = []
    if len(found) != 1:
        raise AndesError(f"the server {server.pid} has {len(found)} engine cores, not 1:\n{server.log[-2000:]}")
    return {ENGINE: found[0], FRONT_END: front_end}


class MemoryLog:
    """Samples of the processes' resident memory.

    Args:
        server: Whose processes.
    """

    def __init__(self, server: LocalServer) -> None:
        self._processes = processes(server)
        self._time_s: list[float] = []
        self._mib: dict[str, list[float]] = {name: [] for name in self._processes}
        self.sample()

    @property
    def pids(self) -> dict[str, int]:
        """The processes looked at."""
        return {name: process.pid for name, process in self._processes.items()}

    def sample(self) -> None:
        """Look once; a process that is gone is not looked at any more."""
        self._time_s.append(time.monotonic())
        for name, process in self._processes.items():
            try:
                self._mib[name].append(process.memory_info().rss / _MIB)
            except psutil.NoSuchProcess:
                self._mib[name].append(float("nan"))

    async def keep(self, every_s: float, stop: asyncio.Event) -> None:
        """Look every so often until `stop`."""
        while not stop.is_set():
            self.sample()
            await pause(stop, every_s)

    def summary(self, warm_up_s: float) -> dict[str, Memory]:
        """Each process's memory, with its growth after the warm-up.

        Raises:
            AndesError: If fewer than three samples are left.
        """
        time_s = np.array(self._time_s) - self._time_s[0]
        return {name: memory_of(time_s, np.array(mib), warm_up_s) for name, mib in self._mib.items()}


def memory_of(time_s: FloatArray, mib: FloatArray, warm_up_s: float) -> Memory:
    """Growth of one process.

    Args:
        time_s: When it was looked at, s since the first time. Shape (n,).
        mib: Its resident memory, MiB; NaN once it is gone. Shape (n,).
        warm_up_s: Samples from then on count.

    Raises:
        AndesError: If fewer than three of them do.
    """
    late = time_s >= warm_up_s
    if late.sum() < 3:
        raise AndesError(f"{late.sum()} samples of memory after {warm_up_s:.0f} s of warm-up; soak for longer")
    slope = float(theilslopes(mib[late], time_s[late]).slope) if np.isfinite(mib).all() else np.nan
    growth = slope * float(np.ptp(time_s[late]))
    return Memory(float(mib[0]), float(mib[late][0]), float(mib[-1]), growth, 3600.0 * slope, int(late.sum()))
