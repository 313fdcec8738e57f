"""How well the simulator predicts live vLLM: the same workloads through both and through the engines in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from agents.build import contenders_from, held_out_bursts
from agents.config import SchedulerSettings, WorkloadSettings
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.fidelity import (
    AGAIN,
    AT_SPEED,
    LIVE,
    Comparison,
    agreement_sentences,
    fidelity_grid,
    ranking_grid,
)
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import preset
from andes_engine.step_time.presets import save_preset
from andes_engine.workload import Workload

if TYPE_CHECKING:
    from andes_engine.vllm.run import LiveRunner


@dataclass(frozen=True, slots=True)
class FidelityConfig:
    """`conf/fidelity.yaml`.

    Args:
        seed: For the record; the workloads have seeds of their own.
        run_dir: Where tables and records go.
        contenders: Schedulers.
        policy: Folder of a policy bundle that takes part as well; KV caches it was trained to keep are recomputed here.
        document: Markdown file for the tables, besides the run directory.
        loads: Arrival rates, in shares of what FCFS saturates at on this machine (calibrated first).
        seeds: Workloads per load.
        duration_s: Arrivals stop after this time, s; the engine then drains.
        lengths: Length family; must fit the engine.
    """

    seed: int
    run_dir: str
    contenders: Mapping[str, SchedulerSettings]
    policy: str | None = None
    document: str | None = None
    loads: tuple[float, ...] = (1.0, 1.5, 2.5)
    seeds: int = 3
    duration_s: float = 10.0
    lengths: str = "tiny"

    def __post_init__(self) -> None:
        if not self.loads or min(self.loads) <= 0.0 or self.seeds < 1 or self.duration_s <= 0.0:
            raise ConfigError(
                f"fidelity needs loads > 0, seeds >= 1 and duration_s > 0, got loads = {list(self.loads)}, seeds = {self.seeds}, "
                f"duration_s = {self.duration_s}"
            )


@dataclass(frozen=True, slots=True)
class FidelityResult:
    """Tables, one sentence per engine, and the file they were written to."""

    grids: tuple[Grid, ...]
    sentences: list[str]
    table: Path


def fidelity(config: FidelityConfig) -> FidelityResult:
    """Calibrate on the live engine, anew for each seed, run everything, compare.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    contenders = _contenders(config)
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.run import LiveRunner

    comparisons: list[Comparison] = []
    with ExitStack() as engines:  # all stay until the end: what an engine leaves takes vLLM's process groups with it
        runner = engines.enter_context(LiveRunner(LiveConfig(), preset("cpu_tiny_llama")))
        calibrations, host_s = [runner.calibrate()], []
        by_seed = _cases(config, runner, contenders)
        for seed, cases in enumerate(tqdm(by_seed, desc="seeds", unit="seed", disable=None)):
            if seed > 0:  # the machine may not be as fast as it was
                calibrations.append(runner.calibrate())
            host_s.append(runner.host_s)
            save_preset(runner.step_time, run_dir.path / f"step_time_{seed}.json")
            device = save_preset(runner.device_time, run_dir.path / f"device_time_{seed}.json")
            emulated = engines.enter_context(LiveRunner(runner.config, runner.step_time, str(device)))
            comparisons += [
                _compare(runner, emulated, *case) for case in tqdm(cases, unit="run", leave=False, disable=None)
            ]
    grids = (fidelity_grid(comparisons), ranking_grid(comparisons))
    said = [*agreement_sentences(comparisons), *_about_engines(host_s, config.policy)]
    text = "\n".join([to_markdown(*grids), *(f"- {line}" for line in said), ""])
    table = run_dir.path / "table.md"
    table.write_text(text, encoding="utf-8")
    if config.document:
        Path(config.document).write_text(_document(config, text), encoding="utf-8")
    run_dir.write_results({"calibrations": calibrations, "runs": [_plain(entry) for entry in comparisons]})
    return FidelityResult(grids, said, table)


def _document(config: FidelityConfig, text: str) -> str:
    made = made_with()
    asked = f"loads {list(config.loads)}, {config.seeds} seeds, {config.duration_s:g} s of arrivals"
    where = f"commit `{made['commit']}`, {made['platform']}, Python {made['python']}"
    return f"# The simulator against live vLLM\n\nWritten by `make fidelity`: {asked}; {where}.\n\n{text}"


def _contenders(config: FidelityConfig) -> list[Contender]:
    contenders = [_recomputing(entry) for entry in contenders_from(config.contenders, config.policy)]
    for entry in contenders:
        entry.check_deployable()
        if entry.keep_kv > 0.0:
            raise ConfigError(
                f"contender '{entry.name}' keeps the KV caches of preempted requests (keep_kv = {entry.keep_kv:g}); here two "
                "engines live in one process, and vLLM has one place for a KV connector in it. Leave it out, or set keep_kv to 0"
            )
    return contenders


def _recomputing(contender: Contender) -> Contender:
    """A policy as `scripts.serve` runs it where no host memory is given for KV caches."""
    if contender.bundle is None:
        return contender
    return replace(contender, bundle=replace(contender.bundle, keep_kv=0.0))


def _cases(
    config: FidelityConfig, runner: LiveRunner, contenders: Sequence[Contender]
) -> list[list[tuple[float, Workload, Contender]]]:
    """By seed; contenders in turn on the same workload, so that a machine that changes its speed does so for all of them."""
    traffic = WorkloadSettings("fidelity", lengths=config.lengths, duration_s=config.duration_s)
    drawn = [held_out_bursts(runner.engine_config, traffic, load, config.seeds) for load in config.loads]
    return [
        [(load, burst, contender) for load, burst in zip(config.loads, bursts, strict=True) for contender in contenders]
        for bursts in zip(*drawn, strict=True)
    ]


def _compare(
    runner: LiveRunner, emulated: LiveRunner, load: float, workload: Workload, contender: Contender
) -> Comparison:
    from andes_engine.vllm.run import run_virtual

    live = runner.run(workload, contender)
    as_run = runner.engine_as_run()
    engines: dict[str, Callable[[], RunRecord]] = {
        AGAIN: lambda: runner.run(workload, contender),
        "simulator": lambda: run_simulated(runner.engine_config, workload, contender),
        "vLLM's scheduler, virtual clock": lambda: run_virtual(runner.config, runner.step_time, workload, contender),
        "real engine, emulated device": lambda: emulated.run(workload, contender),
        AT_SPEED: lambda: run_simulated(as_run, workload, contender),
    }
    records = {LIVE: live, **{name: run() for name, run in engines.items()}}
    metrics = {name: summarize(record) for name, record in records.items()}
    return Comparison(contender.name, load, as_run.slowdown - 1.0, metrics)


def _plain(entry: Comparison) -> dict[str, object]:
    return {"scheduler": entry.scheduler, "load": entry.load, "drift": entry.drift, "engines": entry.metrics}


def _about_engines(host_s: Sequence[float], policy: str | None) -> list[str]:
    said = [
        f"In an iteration, vLLM's own time was {1e3 * np.median(host_s):.2f} ms in the median; the emulated device takes the "
        "time of the executor alone, and the real engine around it takes its own."
    ]
    if policy:
        said.append(f"Policy `{policy}`: preempted requests are recomputed, as on a server without keep_kv_gib.")
    return said
