"""A real server under bursty load, bad clients and failing policies, for as long as you like; then what must hold is checked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from agents.build import workload_at_rate
from agents.config import WorkloadSettings
from agents.load import allow_many_connections
from agents.local_server import LocalServer, local_server
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError, check_positive
from agents.soak_checks import (
    Counts,
    Verdict,
    check_alive,
    check_exchanges,
    check_idle,
    check_memory,
    check_requests,
    check_vandals,
    counts,
    since,
    verdict_grid,
)
from agents.soak_memory import Memory, MemoryLog, processes
from agents.soak_policies import POLICIES, Exchange, exchange_policies, write_policies
from agents.soak_vandals import Vandalism, vandalise
from andes_engine.client.open_loop import OpenLoop, open_session
from andes_engine.client.outcome import client_record
from andes_engine.client.server import find_target
from andes_engine.records import RunRecord
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.vllm import adapter

FAULTY_SCHEDULER = "agents.soak_faults.faulty_scheduler"
DOOR = ("--middleware", "andes_engine.vllm.door.RefuseBadExpectations")
"""What `andes-vllm` adds by itself only under a scheduler class of `andes_engine`."""


@dataclass(frozen=True, slots=True)
class SoakConfig:
    """`conf/soak.yaml`.

    Args:
        seed: Of the workload and of the bad clients.
        run_dir: Where everything goes.
        workload: Traffic; its duration is `minutes`.
        minutes: How long requests arrive, min.
        rate: Mean arrival rate, requests/s.
        vandals_per_s: Bad clients, 1/s.
        swap_every_s: Time between two policies, s.
        warm_up_share: Share of the time in which memory may grow.
        sample_every_s: Time between two looks at memory, s.
        growth_mib: What each process may grow by after the warm-up, MiB.
        timeout_s: A request that is not complete so long after it went out has failed, s.

    Raises:
        ConfigError: If a number is out of range.
    """

    seed: int
    run_dir: str
    workload: WorkloadSettings
    minutes: float = 20.0
    rate: float = 1.5
    vandals_per_s: float = 1.0
    swap_every_s: float = 60.0
    warm_up_share: float = 0.4
    sample_every_s: float = 5.0
    growth_mib: float = 24.0
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        check_positive(
            self, "minutes", "rate", "vandals_per_s", "swap_every_s", "sample_every_s", "growth_mib", "timeout_s"
        )
        if not 0.0 <= self.warm_up_share < 1.0:
            raise ConfigError(f"warm_up_share = {self.warm_up_share} must be at least 0 and below 1")


class Ordeal(NamedTuple):
    """What happened to a server."""

    record: RunRecord
    verdicts: list[Verdict]
    exchanges: list[Exchange]
    vandalism: Vandalism
    memory: dict[str, Memory]
    counted: Counts
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything holds."""
        return all(verdict.ok for verdict in self.verdicts)

    def summary(self) -> dict[str, Any]:
        """The findings as JSON knows them; small."""
        applied = [entry.seconds for entry in self.exchanges if entry.seconds is not None]
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 1),
            "requests": len(self.record.workload),
            "tokens": int(self.record.emitted_tokens.sum()),
            "qoe_mean": float(self.record.qoe.mean()),
            "notes": self.record.notes,
            "malformed": self.vandalism.answered.total(),
            "hung_up": self.vandalism.hung_up,
            "exchanges": len(self.exchanges),
            "slowest_exchange_s": max(applied, default=math.nan),
            "counted": {" ".join(filter(None, key)): value for key, value in sorted(self.counted.items()) if value},
            "memory_mib": {name: found._asdict() for name, found in self.memory.items()},
            "verdicts": [verdict._asdict() for verdict in self.verdicts],
        }


@dataclass(frozen=True, slots=True)
class SoakResult:
    """The verdicts as a table, whether all are good, and where they were written."""

    grid: Grid
    passed: bool
    results: Path


def soak(config: SoakConfig, command: str) -> SoakResult:
    """Start a server, soak it, write what came out and the `command` that did it.

    Raises:
        AndesError: If the configuration cannot work or the server does not start.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    adapter.require_vllm()
    run, made = RunDir.create(config.run_dir, plain(config), config.seed), made_with()
    folder = (run.path / "server").resolve()
    folder.mkdir()
    (folder / "policy.txt").write_text("none\n", encoding="utf-8")
    section = {"policy": str(folder / "policy.txt"), "policy_poll_s": 0.2, "log": "json"}
    with local_server(folder, section, DOOR, FAULTY_SCHEDULER) as server:
        ordeal = soak_server(server, config, tuple(POLICIES))
    grid = verdict_grid(ordeal.verdicts, f"Soak of {config.minutes:g} min")
    (run.path / "table.md").write_text(to_markdown(grid), encoding="utf-8")
    results = run.write_results({"command": command, **made, "soak": ordeal.summary()})
    return SoakResult(grid, ordeal.passed, results)


def soak_server(server: LocalServer, config: SoakConfig, policies: Sequence[str]) -> Ordeal:
    """Soak a server that runs and take a look afterwards; it stays up, under whichever policy came last.

    Args:
        server: Started with `policy` and `policy_poll_s` in its section `andes`.
        config: How long and how hard.
        policies: Which of `soak_policies.POLICIES` to exchange; `raises` needs the scheduler class of `soak_faults`.
    """
    allow_many_connections()
    write_policies(server)
    before, started_s = counts(server), time.monotonic()
    fire = _Fire(server, config, tuple(policies))
    record, loop = asyncio.run(fire.rage())
    seconds = time.monotonic() - started_s
    alive = check_alive(server, fire.memory.pids, {name: found.pid for name, found in processes(server).items()})
    counted = since(before, counts(server))
    memory = fire.memory.summary(config.warm_up_share * seconds)
    verdicts = [
        *check_requests(loop.sent, counted),
        *check_vandals(fire.vandalism),
        *check_exchanges(fire.exchanges, counted),
        *check_idle(server),
        *check_memory(memory, config.growth_mib),
        *alive,
    ]
    return Ordeal(record, verdicts, fire.exchanges, fire.vandalism, memory, counted, seconds)


@dataclass(slots=True)
class _Fire:
    """Everything that happens to the server at once."""

    server: LocalServer
    config: SoakConfig
    policies: tuple[str, ...]
    exchanges: list[Exchange] = field(default_factory=list)
    vandalism: Vandalism = field(default_factory=Vandalism)
    memory: MemoryLog = field(init=False)

    def __post_init__(self) -> None:
        self.memory = MemoryLog(self.server)

    async def rage(self) -> tuple[RunRecord, OpenLoop]:
        config, stop = self.config, asyncio.Event()
        traffic = replace(config.workload, duration_s=60.0 * config.minutes, requests=None)
        async with open_session() as session:
            target = await find_target(session, self.server.url, None)
            asked = workload_at_rate(traffic, config.seed, config.rate)
            if (longest_tokens := target.max_model_len_tokens) is not None:
                asked, _ = asked.up_to(longest_tokens)
            loop = OpenLoop(session, target, asked, config.seed, config.timeout_s)
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    exchange_policies(self.server, self.policies, config.swap_every_s, stop, self.exchanges)
                )
                group.create_task(vandalise(self.server, config.vandals_per_s, config.seed, stop, self.vandalism))
                group.create_task(self.memory.keep(config.sample_every_s, stop))
                duration_s = await loop.run()
                stop.set()
        return client_record(asked, loop.sent, target.model, "andes", duration_s), loop
