"""The same bursts through live vLLM and the simulator: what a scheduler is worth on a real engine, paired by workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from agents.build import held_out_bursts
from agents.config import WorkloadSettings
from agents.schema import ConfigError, check_positive
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import FitReport, UnseenError, preset
from andes_engine.workload import Workload

if TYPE_CHECKING:
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.run import LiveRunner


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A burst for a live engine.

    Args:
        load: Arrival rate of the burst, in shares of what FCFS saturates at on this machine (calibrated first).
        duration_s: Arrivals stop after this time, s; the engine then drains.
        bursts: Bursts, each from a held-out seed of its own.
        lengths: Length family; must fit the engine.

    Raises:
        ConfigError: If there is nothing to run.
    """

    load: float = 2.0
    duration_s: float = 10.0
    bursts: int = 1
    lengths: str = "tiny"

    def __post_init__(self) -> None:
        """Refuse."""
        if self.bursts < 1:
            raise ConfigError(f"bursts = {self.bursts} must be at least 1; the demo without a live part: live=null")
        check_positive(self, "load", "duration_s")


@dataclass(frozen=True, slots=True)
class LiveResult:
    """Records of the same bursts from both engines, the step-time model that was measured first, and its error if checked.

    A machine need not stay as fast as it was when it was measured: `at_speed` are the simulator's records with iterations
    together as long as each live run had them; how many times the calibrated length that is, its record notes as `slowdown`.
    `host_s` is vLLM's own time in an iteration of the calibration, median, s; `copy_s_per_block` the time to copy a KV block to
    host memory or back, 0 where none is kept.
    """

    calibration: FitReport
    host_s: float
    copy_s_per_block: float
    simulated: tuple[RunRecord, ...]
    at_speed: tuple[RunRecord, ...]
    live: tuple[RunRecord, ...]
    unseen: UnseenError | None = None


def live_runs(
    settings: LiveSettings,
    contenders: Sequence[Contender],
    engine: LiveConfig | None = None,
    near: str = "cpu_tiny_llama",
    check: bool = False,
) -> LiveResult:
    """Boot vLLM, calibrate, and replay every burst under every contender, live and simulated.

    Args:
        settings: The bursts.
        contenders: Who serves them.
        engine: What is booted; a small engine for a CPU by default.
        near: Preset or file of about its speed; it only spaces the requests of the calibration.
        check: Whether the fit is tested on other traffic as well.

    Raises:
        AndesError: If a contender needs true output lengths, or there is no such preset.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    for entry in contenders:
        entry.check_deployable()
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.run import LiveRunner

    keep_kv = max(entry.keep_kv for entry in contenders)  # for whoever asks for most; it is there for all of them then
    with LiveRunner((engine or LiveConfig()).keeping_kv(keep_kv), preset(near)) as runner:
        calibration = runner.calibrate()
        unseen = runner.check() if check else None
        bursts = bursts_for(settings, runner.engine_config)
        live, at_speed = zip(*(_run(runner, burst, entry) for burst in bursts for entry in contenders), strict=True)
        simulated = tuple(
            run_simulated(runner.engine_config, burst, contender, token_log=True)
            for burst in bursts
            for contender in contenders
        )
    return LiveResult(calibration, runner.host_s, runner.copy_s_per_block, simulated, at_speed, live, unseen)


def bursts_for(settings: LiveSettings, engine: EngineConfig) -> list[Workload]:
    """The bursts, without requests that are too long for the engine."""
    traffic = WorkloadSettings(
        "live burst", lengths=settings.lengths, duration_s=settings.duration_s, on_too_long="drop"
    )
    return held_out_bursts(engine, traffic, settings.load, settings.bursts)


def _run(runner: LiveRunner, burst: Workload, contender: Contender) -> tuple[RunRecord, RunRecord]:
    """Live, and simulated at the speed of the live run."""
    with tqdm(total=len(burst), desc=f"live vLLM, {contender.name}", unit="request", leave=False, disable=None) as bar:
        live = runner.run(burst, contender, lambda _, started: bar.update(started - bar.n) and None)
    engine = runner.engine_as_run()
    again = run_simulated(engine, burst, contender)
    return replace(live, notes={**live.notes, "slowdown": engine.slowdown}), again


def throughput_lost(live: Sequence[RunRecord], candidate: str, reference: str) -> float:
    """Median over bursts of the share of the reference's tokens/s that the candidate lost."""
    rates: dict[tuple[str, str], float] = {
        (run.scheduler, run.workload.fingerprint): run.emitted_tokens.sum() / run.duration_s for run in live
    }
    bursts = {fingerprint for _, fingerprint in rates}
    return float(np.median([1.0 - rates[candidate, one] / rates[reference, one] for one in sorted(bursts)]))
