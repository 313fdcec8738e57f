"""The schema of the configuration files: one dataclass for each YAML file of `conf/` that a script starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.schema import ConfigError
from agents.suite_settings import SuiteSettings
from andes_engine.action import DEFAULT_ACTION_KNOBS
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.knobs import Knobs
from envs.config import RewardConfig
from envs.variation import EngineVariation

KINDS = ("wandb", "tensorboard", "none")
MODES = ("offline", "online")


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """Traffic; the parts are those of `andes_engine.workload.spec.workload_spec`.

    Args:
        name: For records.
        arrivals: Arrival process: a name, or a mapping with `kind`.
        lengths: Length family: a name, or a mapping of moments.
        readers: Reader mix: a name, one pace in s per token, or a mapping; `recorded` for the paces in a file of lengths.
        ttft: TTFT expectation: a name, a number of seconds, or a mapping.
        duration_s: Arrivals stop after this time, s; give this or `requests`.
        requests: Number of requests; of a trace, the first so many.
        trace: Path of a recorded trace. A comparison replays it, training draws lengths from it; so does a comparison
            where it has no times.
        rescale: Whether a replayed trace is stretched to the loads of the comparison instead of its own rate.
        skip_zero: Whether requests of a trace without generated tokens are left out instead of refused.
        on_too_long: What to do with requests the engine cannot hold: `refuse` or `drop`.
        users: Who asks: a number of users, or a mapping; null for one user.
        patience: Readers who leave: their mean patience in s, or a mapping; null for readers who stay.
        multi_round: Conversations with follow-ups: mean turns, or a mapping; null for single turns.
        segments: How traffic changes midway: a list of mappings, each with its `share` of `duration_s`, its `load_factor`, and
            what is different of `arrivals`, `lengths`, `readers` and `ttft`; null for traffic that stays as it is.
    """

    name: str
    arrivals: Any = "poisson"
    lengths: Any = "sharegpt"
    readers: Any = "reading"
    ttft: Any = "fixed"
    duration_s: float | None = None
    requests: int | None = None
    trace: str | None = None
    rescale: bool = False
    skip_zero: bool = False
    on_too_long: str = "refuse"
    users: Any = None
    patience: Any = None
    multi_round: Any = None
    segments: Any = None


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """A scheduler with fixed knobs, its length source and what it keeps of victims; the fields are those of `Contender`."""

    name: str
    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    lengths: str = "none"
    length_sigma: float = 0.6
    keep_kv: float = 0.0

    def __post_init__(self) -> None:
        Knobs(self.knobs)  # refused here, where the message can name the setting and its file

    @property
    def contender(self) -> Contender:
        """The scheduler as it takes part in a comparison."""
        return Contender(
            self.name,
            self.scheduler,
            self.knobs,
            lengths=self.lengths,
            length_sigma=self.length_sigma,
            keep_kv=self.keep_kv,
        )


@dataclass(frozen=True, slots=True)
class EnvSettings:
    """How episodes are made of the chosen engines and traffic.

    Args:
        num_envs: Engines simulated side by side.
        load: Bounds of the load of an episode, in shares of FCFS saturation.
        decision_interval_s: Time between actions, s.
        time_limit_s: Episodes still running then are truncated, s.
        action: Knobs the policy moves, or `knobs`, `index` or `both` (`action.ACTION_SPACES`); their reference is the chosen
            scheduler's setting.
        variation: How the engine of an episode differs from the one drawn (domain randomisation).
    """

    num_envs: int = 8
    load: tuple[float, float] = (0.7, 1.3)
    decision_interval_s: float = 5.0
    time_limit_s: float = 1200.0
    action: tuple[str, ...] = DEFAULT_ACTION_KNOBS
    variation: EngineVariation = field(default_factory=EngineVariation)


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Where curves go: `kind` is wandb, tensorboard or none; `mode` (online, offline) is for wandb."""

    kind: str = "none"
    mode: str = "offline"
    project: str = "andes-rl"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, name, known in (("tracking", self.kind, KINDS), ("tracking mode", self.mode, MODES)):
            if name not in known:
                raise UnknownNameError(what, name, known)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long to train and how to judge it.

    Args:
        steps: Environment decisions at most.
        minutes: Wall clock at most, min; none by default.
        eval_every: Decisions between evaluations.
        eval_loads: Loads of the validation workloads.
        eval_seeds: Validation workloads at each load.
        normalize_reward: Whether rewards are scaled to unit variance of their return.
        resume: Run directory whose last checkpoint to go on from.
        progress: Whether to show a progress bar.
    """

    steps: int = 100_000
    minutes: float | None = None
    eval_every: int = 10_000
    eval_loads: tuple[float, ...] = (0.8, 1.0, 1.2)
    eval_seeds: int = 2
    normalize_reward: bool = True
    resume: str | None = None
    progress: bool = True


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """`conf/train.yaml`. `more_engines` and `more_workloads` widen what episodes are drawn from."""

    seed: int
    run_dir: str
    engine: EngineConfig
    workload: WorkloadSettings
    scheduler: SchedulerSettings
    env: EnvSettings
    reward: RewardConfig
    agent: Mapping[str, Any]
    tracking: TrackingSettings
    train: TrainSettings
    name: str = "learned"
    mode: str = "offline"
    trace: str | None = None
    more_engines: Mapping[str, EngineConfig] = field(default_factory=dict)
    more_workloads: Mapping[str, WorkloadSettings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompareConfig:
    """`conf/compare.yaml`.

    Args:
        seed: Seed of the bootstrap; which workloads are drawn is fixed by `split` and `seeds`.
        suite: Grids to run instead of one engine and one workload.
        contenders: Schedulers with fixed knobs.
        policy: Folder of a policy bundle that takes part as well.
        references: Contenders that every other is judged against, pair by pair.
        loads: Loads in shares of FCFS saturation; ignored by a trace that is not rescaled.
        seeds: Workloads at each load.
        split: `held_out` for results, `validation` for choosing.
        metrics: Metrics of the paired differences.
        workers: Processes; 0 for one per core.
        tokens: Whether the records keep the time of every token.

    Raises:
        ConfigError: If there is no load, or one that is not positive.
    """

    seed: int
    run_dir: str
    engine: EngineConfig
    workload: WorkloadSettings
    contenders: Mapping[str, SchedulerSettings]
    tracking: TrackingSettings
    suite: SuiteSettings | None = None
    policy: str | None = None
    trace: str | None = None
    references: tuple[str, ...] = ("andes",)
    loads: tuple[float, ...] = (0.8, 1.0, 1.2)
    seeds: int = 3
    split: str = "held_out"
    metrics: tuple[str, ...] = ("qoe_mean", "qoe_p10", "ttft_p90_s")
    workers: int = 0
    tokens: bool = False
    mode: str = "offline"

    def __post_init__(self) -> None:
        if not (self.loads and all(math.isfinite(load) and load > 0.0 for load in self.loads)):
            raise ConfigError(f"loads = {list(self.loads)} must be one or more shares of saturation, finite and > 0")


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """`conf/export.yaml`: which checkpoint (`best` or `last`) of which training run, and where the bundle goes."""

    run: str
    checkpoint: str = "best"
    out: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """`conf/serve.yaml`: what to serve, under which scheduler, and where.

    Args:
        model: Model that vLLM loads; an emulated device can do without, and gets a made-up one.
        policy: Folder of a policy bundle, or a file that names one; none for the scheduler's fixed knobs.
        scheduler: Scheduler with its knobs.
        andes: Further keys of the section `andes`: readers' classes and defaults, log, trace and so on.
        step_time: Preset of the step-time model nearest to this machine; by default the emulated device's, or an A100's.
        emulate: Device to emulate instead of loading the model: a step-time preset, or a mapping (`andes_engine.vllm.emulation`).
        keep_kv_gib: Host memory that the KV caches of preempted requests are kept in, GiB; none: they are recomputed.
        host: Address to listen on.
        port: Port to listen on.
        extra: Further arguments of `vllm serve`, as they are.
        dry_run: Only print the command.
    """

    scheduler: SchedulerSettings
    model: str | None = None
    policy: str | None = None
    step_time: str | None = None
    emulate: Any = None
    keep_kv_gib: float | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    andes: Mapping[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    dry_run: bool = False
