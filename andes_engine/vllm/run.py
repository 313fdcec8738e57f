"""One contender through one workload on real vLLM: live on the CPU engine, or vLLM's own scheduler on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import numpy as np

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.planner import Planner, PlannerConfig
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.schedulers import FCFS, scheduler_id
from andes_engine.step_time import FitReport, StepSample, StepTime, UnseenError, fit, unseen_error
from andes_engine.vllm.calibration import calibration_cells, cell_requests, fit_sample, waves
from andes_engine.vllm.contract import EngineShape
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig, SchedulerKind
from andes_engine.vllm.episode_engine import EpisodeEngine
from andes_engine.vllm.live_engine import LiveEngine
from andes_engine.vllm.virtual_clock import VirtualEngine
from andes_engine.workload import Workload

Progress = Callable[[float, int], None]
"""Called about twice a second with the engine's clock (s) and the requests finished."""

_PROGRESS_S = 0.5


class LiveRunner:
    """A live engine that replays workloads under one contender after the other; boots once, in a few seconds.

    Args:
        config: Size of model and engine.
        step_time: Step-time model the planner reckons with; `calibrate` replaces it by a measured one.

    Raises:
        ImportError: If vLLM is not installed; the message says which extra to install.
    """

    def __init__(self, config: LiveConfig, step_time: StepTime) -> None:
        self.config = config
        self.step_time = step_time
        self._engine = LiveEngine(config)

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
        return simulated_twin(self.config, self.step_time)

    def run(self, workload: Workload, contender: Contender, progress: Progress | None = None) -> RunRecord:
        """Replay a workload in real time until it has drained.

        Raises:
            CapacityError: If a request does not fit the engine; before anything starts.
        """
        return _replay(self._engine, "live", self.engine_config, workload, contender, progress)

    def calibrate(self, repeats: int = 1) -> FitReport:
        """Measure this machine over a grid of batches, contexts and prompts, and fit the step-time model to the iterations.

        The grid is run `repeats` times, after one cell that only warms the engine up.
        """
        cells = calibration_cells(self.config)
        self._measure(cell_requests(cells[0], self.config, self.step_time, "warm-up"))
        steps = [
            step
            for turn in range(repeats)
            for place, cell in enumerate(cells)
            for step in self._measure(cell_requests(cell, self.config, self.step_time, f"{turn}-{place}"))
        ]
        report = fit(steps, "calibrated")
        self.step_time = report.model
        return report

    def check(self) -> UnseenError:
        """Error of the current model on traffic unlike what it was calibrated with."""
        return unseen_error(self.step_time, self._measure(list(waves())))

    def _measure(self, requests: list[EpisodeRequest]) -> list[StepSample]:
        self._engine.replay(requests)
        return [fit_sample(step) for step in self._engine.samples]


def run_virtual(config: LiveConfig, step_time: StepTime, workload: Workload, contender: Contender) -> RunRecord:
    """Replay a workload on vLLM's own scheduler and KV manager, with step times from the model; exact and repeatable."""
    kind: SchedulerKind = "stock" if scheduler_id(contender.scheduler) == FCFS else "andes"
    engine = VirtualEngine(config, step_time, kind)
    return _replay(engine, "virtual", simulated_twin(config, step_time), workload, contender, None)


def simulated_twin(config: LiveConfig, step_time: StepTime) -> EngineConfig:
    """The simulator's configuration of a vLLM engine; vLLM keeps one KV block for itself."""
    return EngineConfig(
        name="cpu_vllm",
        step_time=step_time,
        kv_blocks=config.kv_blocks - 1,
        block_size_tokens=config.block_size,
        max_num_seqs=config.max_num_seqs,
        max_batched_tokens=config.max_batched_tokens,
        max_model_len_tokens=config.longest_request_tokens,
    )


def planner_for(contender: Contender, engine: EngineConfig) -> Planner | None:
    """The planner a contender runs with on a vLLM engine; None for FCFS, which is vLLM's own behaviour."""
    if scheduler_id(contender.scheduler) == FCFS:
        if contender.knobs.get("kv_reserve"):
            raise AndesError(
                f"'{contender.name}': a KV reserve under FCFS is vLLM's own `--watermark`, set when the engine starts"
            )
        return None
    knobs = dict(contender.bundle.action.reference) if contender.bundle else dict(contender.knobs)
    shape = EngineShape(
        engine.block_size_tokens,
        engine.kv_blocks,
        engine.max_num_seqs,
        engine.max_batched_tokens,
        engine.max_model_len_tokens,
    )
    policy = GuardedPolicy(contender.bundle) if contender.bundle else None
    return Planner(PlannerConfig(contender.scheduler, knobs, engine.step_time), shape, policy)


def episode_requests(workload: Workload) -> list[EpisodeRequest]:
    """A workload as the vLLM engines take it; ids are row numbers."""
    columns = (workload.arrival_s, workload.prompt_tokens, workload.output_tokens, workload.ttft_s, workload.latency_s)
    rows = enumerate(zip(*(values.tolist() for values in columns), strict=True))
    return [EpisodeRequest(str(row), *values) for row, values in rows]


def _replay(
    engine: EpisodeEngine,
    tier: str,
    twin: EngineConfig,
    workload: Workload,
    contender: Contender,
    progress: Progress | None,
) -> RunRecord:
    workload.check_fits(twin)
    planner = planner_for(contender, twin)
    engine.set_planner(None)
    engine.reset(episode_requests(workload))
    engine.set_planner(planner)
    while not engine.drained:
        engine.advance(engine.now_s + _PROGRESS_S)
        if progress is not None:
            progress(engine.now_s, sum(len(times) > 0 for times in engine.token_times.values()))
    return _record(engine, tier, twin, workload, contender, planner)


def _record(
    engine: EpisodeEngine,
    tier: str,
    twin: EngineConfig,
    workload: Workload,
    contender: Contender,
    planner: Planner | None,
) -> RunRecord:
    rows = range(len(workload))
    return record_from_tokens(
        workload,
        f"{twin.name} ({tier})",
        contender.name,
        [np.asarray(engine.token_times[str(row)]) for row in rows],
        np.array([engine.preemptions[str(row)] for row in rows], dtype=np.int64),
        duration_s=engine.now_s,
        prefill_tokens=sum(sample.prefill_tokens for sample in engine.samples),
        notes=_notes(engine, planner),
    )


def _notes(engine: EpisodeEngine, planner: Planner | None) -> dict[str, float]:
    """Counters worth showing; every fallback is among them."""
    notes = {"steps": float(len(engine.samples))}
    if planner is None:
        return notes
    counters = engine.counters
    notes |= {
        "planned_preemptions": float(counters.planned_preemptions),
        "planner_failures": float(counters.failures),
        "ignored_decisions": float(counters.ignored),
        "forced_admissions": float(counters.forced_admissions),
        "bad_expectations": float(planner.bad_expectations),
    }
    if isinstance(planner.knob_source, GuardedPolicy):
        notes |= {f"policy_fallback_{cause}": float(n) for cause, n in planner.knob_source.fallbacks.items()}
        notes["policy_decisions"] = float(planner.knob_source.decisions)
    return notes
