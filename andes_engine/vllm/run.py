"""One contender through one workload on real vLLM: live on the CPU engine, or vLLM's own scheduler on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.planner import Planner
from andes_engine.records import RunRecord
from andes_engine.step_time import FitReport, StepTime, UnseenError, fit, unseen_error
from andes_engine.vllm.calibration import calibration_cells, cell_requests, device_sample, fit_sample, waves
from andes_engine.vllm.contenders import episode_requests, planner_for, simulated_twin
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from andes_engine.vllm.episode import StepSample as LiveStep
from andes_engine.vllm.episode_engine import EpisodeEngine
from andes_engine.vllm.live_engine import LiveEngine
from andes_engine.vllm.outcome import outcome
from andes_engine.vllm.virtual_clock import VirtualEngine
from andes_engine.workload import Workload

Progress = Callable[[float, int], None]
"""Called about twice a second with the engine's clock (s) and the requests finished."""

_PROGRESS_S = 0.5


class LiveRunner:
    """A live engine that replays workloads under one contender after the other; boots once, in a few seconds.

    Args:
        config: Size of model and engine.
        step_time: Step-time model of whole iterations, which the planner reckons with; `calibrate` replaces it by a measured one.
        emulate: Step-time preset, by name or file, of a device to emulate instead of running the model.

    Attributes:
        device_time: What `calibrate` measured of the executor alone, without vLLM's own time.
        host_s: vLLM's own time in an iteration of that calibration, median, s.

    Raises:
        ImportError: If vLLM is not installed; the message says which extra to install.
    """

    def __init__(self, config: LiveConfig, step_time: StepTime, emulate: str | None = None) -> None:
        self.config = config
        self.step_time = step_time
        self.device_time = step_time
        self.host_s = step_time.host_s
        self._tier = "live" if emulate is None else "emulated"
        self._engine = LiveEngine(config, emulate=emulate)

    def __enter__(self) -> LiveRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine."""
        self._engine.shutdown()

    @property
    def engine_config(self) -> EngineConfig:
        """The same engine as the simulator sees it."""
        return simulated_twin(self.config, self.step_time, self.copy_s_per_block)

    @property
    def copy_s_per_block(self) -> float:
        """Time to copy a KV block to host memory or back, s, measured when the engine was booted; 0 without `host_kv_blocks`."""
        return self._engine.host.copy_s_per_block

    def run(self, workload: Workload, contender: Contender, progress: Progress | None = None) -> RunRecord:
        """Replay a workload in real time until it has drained.

        Args:
            workload: Its requests.
            contender: Scheduler with fixed knobs, or a policy.
            progress: Told how far the run is.

        Raises:
            CapacityError: If a request does not fit the engine; before anything starts.
        """
        planner = planner_for(contender, self.engine_config, workload)
        return _replay(self._engine, self._tier, self.engine_config, workload, contender.name, planner, progress)

    def calibrate(self, repeats: int = 1) -> FitReport:
        """Measure this machine over a grid of batches, contexts and prompts, and fit the step-time model to the iterations.

        The grid is run `repeats` times, after one cell that only warms the engine up. `step_time` is then the model of whole
        iterations and `device_time` that of the executor's part of them.
        """
        cells = calibration_cells(self.config)
        self._measure(cell_requests(cells[0], self.config, self.step_time, "warm-up"))
        steps = [
            step
            for turn in range(repeats)
            for place, cell in enumerate(cells)
            for step in self._measure(cell_requests(cell, self.config, self.step_time, f"{turn}-{place}"))
        ]
        report = fit([fit_sample(step) for step in steps], "calibrated")
        self.step_time = report.model
        self.device_time = fit([device_sample(step) for step in steps], "calibrated device").model
        self.host_s = float(np.median([step.duration_s - device_sample(step).duration_s for step in steps]))
        return report

    def check(self) -> UnseenError:
        """Error of the current model on traffic unlike what it was calibrated with."""
        return unseen_error(self.step_time, [fit_sample(step) for step in self._measure(list(waves()))])

    def drift(self) -> float:
        """How much longer the iterations of the last run took than the current model says, as a share of what it says."""
        return (
            1.0 / (1.0 + unseen_error(self.step_time, [fit_sample(step) for step in self._engine.samples]).total) - 1.0
        )

    def engine_as_run(self) -> EngineConfig:
        """`engine_config`, as much slower than the model the scheduler plans with as the iterations of the last run were."""
        return replace(self.engine_config, slowdown=1.0 + self.drift())

    def _measure(self, requests: list[EpisodeRequest]) -> list[LiveStep]:
        self._engine.replay(requests)
        return list(self._engine.samples)


def run_virtual(config: LiveConfig, step_time: StepTime, workload: Workload, contender: Contender) -> RunRecord:
    """Replay a workload on vLLM's own scheduler and KV manager, with step times from the model; exact and repeatable."""
    twin = simulated_twin(config, step_time)
    planner = planner_for(contender, twin, workload)
    engine = VirtualEngine(config, step_time, "stock" if planner is None else "andes")
    return _replay(engine, "virtual", twin, workload, contender.name, planner, None)


def _replay(
    engine: EpisodeEngine,
    tier: str,
    twin: EngineConfig,
    workload: Workload,
    label: str,
    planner: Planner | None,
    progress: Progress | None,
) -> RunRecord:
    workload.check_fits(twin)
    engine.set_planner(None)
    engine.reset(episode_requests(workload))
    engine.set_planner(planner)
    while not engine.drained:
        engine.advance(engine.now_s + _PROGRESS_S)
        if progress is not None:
            progress(engine.now_s, sum(len(times) > 0 for times in engine.token_times.values()))
    return outcome(engine, tier, twin, workload, label, planner)
