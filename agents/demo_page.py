"""The page that shows one burst under FCFS and under Andes side by side: from two servers, or from the simulator."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np
from aiohttp import web

from agents.build import drops_long, workload_at_rate
from agents.config import WorkloadSettings
from agents.schema import ConfigError
from andes_engine.client.open_loop import open_session
from andes_engine.client.page.app import SideBySide
from andes_engine.client.page.pane import Pane
from andes_engine.client.page.sources import Source, server_source, simulated_source
from andes_engine.client.server import find_target
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.sim.run import run_simulated
from andes_engine.workload import Workload

NAMES = {"fcfs": "FCFS", "andes": "Andes"}
SOURCES = ("servers", "sim")


@dataclass(frozen=True, slots=True)
class DemoPageConfig:
    """`conf/demo_page.yaml`.

    Args:
        seed: Of the workload and of the prompts.
        workload: The burst.
        engine: What the simulator simulates.
        source: `servers`, two that run, or `sim`.
        fcfs: URL of a server under FCFS.
        andes: URL of a server under Andes.
        rate: Mean arrival rate, requests/s; a trace keeps its own unless it is rescaled.
        cards: Responses whose text is shown.
        port: Of the page, on this machine only; 0 takes any.
        trace: Recorded trace to replay.

    Raises:
        ConfigError: If a server's URL is missing or a number is out of range.
    """

    seed: int
    workload: WorkloadSettings
    engine: EngineConfig
    source: str = "servers"
    fcfs: str | None = None
    andes: str | None = None
    rate: float = 9.0
    cards: int = 4
    port: int = 8090
    trace: str | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UnknownNameError("source", self.source, SOURCES)
        missing = [name for name in NAMES if not getattr(self, name)]
        if self.source == "servers" and missing:
            raise ConfigError(
                f"no server for {' and '.join(missing)}; give {' '.join(f'{name}=URL' for name in missing)}, or source=sim"
            )
        if not (math.isfinite(self.rate) and self.rate > 0.0 and self.cards >= 1):
            raise ConfigError(f"rate = {self.rate} must be finite and > 0, cards = {self.cards} at least 1")


async def serve_page(config: DemoPageConfig, tell: Callable[[str], object]) -> None:
    """Serve the page until cancelled; `tell` gets its address.

    Raises:
        AndesError: If the configuration cannot work or a server does not answer.
    """
    workload = workload_at_rate(config.workload, config.seed, config.rate)
    async with AsyncExitStack() as stack:
        if config.source == "sim":
            workload, sources = _simulated(config, workload)
            about = f"on the simulated engine {config.engine.name}"
        else:
            workload, sources = await _servers(config, workload, stack)
            about = f"on {config.fcfs} and {config.andes}"
        shown = np.linspace(0, len(workload) - 1, min(config.cards, len(workload))).round().astype(int).tolist()
        panes = [Pane(NAMES[name], source, workload, shown) for name, source in sources.items()]
        asked = f"{len(workload)} requests in {workload.duration_s:.0f} s {about}, each shown at its reader's pace."
        runner = web.AppRunner(SideBySide(panes, asked).app())
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, "127.0.0.1", config.port, shutdown_timeout=1.0).start()
        except OSError as error:
            raise ConfigError(
                f"port = {config.port} cannot be had ({error.strerror}); give another, port=0 takes any"
            ) from error
        tell(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await asyncio.Event().wait()


def _simulated(config: DemoPageConfig, workload: Workload) -> tuple[Workload, dict[str, Source]]:
    if drops_long(config.workload):
        workload, _ = workload.fitting(config.engine)
    contenders = {name: Contender(name, name) for name in NAMES}
    return workload, {
        name: simulated_source(run_simulated(config.engine, workload, contender, token_log=True))
        for name, contender in contenders.items()
    }


async def _servers(
    config: DemoPageConfig, workload: Workload, stack: AsyncExitStack
) -> tuple[Workload, dict[str, Source]]:
    session = await stack.enter_async_context(open_session())
    targets = {name: await find_target(session, getattr(config, name), None) for name in NAMES}
    limits = [target.max_model_len_tokens for target in targets.values() if target.max_model_len_tokens]
    if limits and drops_long(config.workload):
        workload, _ = workload.up_to(min(limits))
    return workload, {name: server_source(session, target, workload, config.seed) for name, target in targets.items()}
