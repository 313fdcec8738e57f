"""From configuration to the project's own values: the one place where settings become engines, workloads, environments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from numpy.random import SeedSequence

from agents.config import SchedulerSettings, TrainConfig, WorkloadSettings
from agents.export import policy_folder
from agents.schema import ConfigError
from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.policy.bundle import load_bundle
from andes_engine.workload import Workload
from andes_engine.workload.generate import generate, generate_on, saturation_rate
from andes_engine.workload.lengths import EmpiricalLengths
from andes_engine.workload.spec import workload_spec
from andes_engine.workload.trace import load_trace, read_trace
from andes_engine.workload.trace_lines import has_times
from andes_engine.workload.traffic import WorkloadSpec
from envs.config import EnvConfig

SPLITS = {"validation": 0x5EED_0A1D, "held_out": 0x4E1D_0047, "tuning": 0x7A9E_0C35}
"""Entropy of the fixed workload sets. Training seeds are small numbers, so no training episode can equal one of these."""

_SPEC_PARTS = tuple(WorkloadSpec.__dataclass_fields__.keys() & WorkloadSettings.__dataclass_fields__.keys())


class Scenario(NamedTuple):
    """One workload of a comparison: the label of the load it belongs to, the load (None for a trace's own rate), which seed."""

    stratum: str
    workload: Workload
    load: float | None = None
    seed: int = 0


def env_config(config: TrainConfig) -> EnvConfig:
    """What training draws its episodes from; the zero action is the chosen scheduler's setting."""
    workloads = (config.workload, *config.more_workloads.values())
    return EnvConfig(
        engines=(config.engine, *config.more_engines.values()),
        workloads=tuple(spec_of(workload) for workload in workloads),
        load=config.env.load,
        action=ActionSpec(config.env.action, config.scheduler.knobs),
        reward=config.reward,
        decision_interval_s=config.env.decision_interval_s,
        time_limit_s=config.env.time_limit_s,
        scheduler=config.scheduler.contender.scheduler,
        lengths=config.scheduler.lengths,
        length_sigma=config.scheduler.length_sigma,
        keep_kv=config.scheduler.keep_kv,
        variation=config.env.variation,
    )


def spec_of(settings: WorkloadSettings) -> WorkloadSpec:
    """Traffic as a specification; of a trace, its lengths are resampled and its times are not used."""
    given = {part: getattr(settings, part) for part in _SPEC_PARTS}
    if settings.trace:
        recorded = read_trace(settings.trace, settings.skip_zero)
        given["lengths"] = EmpiricalLengths(recorded.prompt_tokens, recorded.output_tokens)
        if settings.readers == "recorded":
            given["readers"] = recorded.readers
    return workload_spec(given)


def validation_scenarios(config: TrainConfig, env: EnvConfig, engine: EngineConfig) -> list[Scenario]:
    """The workloads that choose between checkpoints: fixed, every kind of traffic of the training that goes with the engine."""
    settings, seeds, fitting = config.train, seed_range(config.train.eval_seeds), env.traffic_for(engine)
    kinds = zip((config.workload, *config.more_workloads.values()), env.workloads, strict=True)
    return [
        scenario._replace(stratum=f"{engine.name}, {traffic.name}, {scenario.stratum}")
        for traffic, spec in kinds
        if spec in fitting
        for scenario in _drawn(engine, traffic, settings.eval_loads, seeds, "validation", engine)
    ]


def held_out(engine: EngineConfig, settings: WorkloadSettings, load: float, count: int) -> list[Workload]:
    """Workloads of the held-out split at one load: a replayed trace (stretched if it is to be rescaled), or drawn traffic."""
    drawn = scenarios(engine, settings, (load,), seed_range(count), "held_out", engine)
    return [scenario.workload for scenario in drawn]


def scenarios(
    engine: EngineConfig,
    settings: WorkloadSettings,
    loads: Sequence[float | None],
    seeds: Iterable[int],
    split: str,
    load_engine: EngineConfig,
) -> Iterator[Scenario]:
    """A replayed trace, or drawn traffic, at each load and with each seed; one of them is the same whatever the others are.

    Args:
        engine: Engine that must hold the requests.
        settings: Traffic.
        loads: Shares of what FCFS saturates at on `load_engine`; None for a trace at its own rate.
        seeds: Which workloads of the split, from 0.
        split: One of `SPLITS`.
        load_engine: Engine whose saturation is load 1.
    """
    make = _replayed if is_replayed(settings) else _drawn
    return make(engine, settings, loads, seeds, split, load_engine)


def is_replayed(settings: WorkloadSettings) -> bool:
    """Whether requests come when a trace says; a file of lengths has no times, traffic is drawn from it."""
    return bool(settings.trace and has_times(settings.trace))


def held_out_bursts(engine: EngineConfig, settings: WorkloadSettings, load: float, count: int) -> list[Workload]:
    """Workloads of the held-out split, drawn at one load, in shares of what FCFS saturates at."""
    return [scenario.workload for scenario in _drawn(engine, settings, (load,), seed_range(count), "held_out", engine)]


def contenders_from(schedulers: Mapping[str, SchedulerSettings], policy: str | Sequence[str] | None) -> list[Contender]:
    """The configured schedulers, and the policies of bundles or training runs: none, one or several."""
    return [*(settings.contender for settings in schedulers.values()), *(one for one, _ in policies_from(policy))]


def policies_from(policy: str | Sequence[str] | None) -> list[tuple[Contender, Path]]:
    """The policies of bundles or training runs, each with the folder of its bundle."""
    folders = [policy_folder(one) for one in ([policy] if isinstance(policy, str) else policy or ())]
    bundles = [load_bundle(folder) for folder in folders]
    return [(Contender(bundle.name, bundle=bundle), folder) for bundle, folder in zip(bundles, folders, strict=True)]


def _drawn(
    engine: EngineConfig,
    settings: WorkloadSettings,
    loads: Sequence[float | None],
    seeds: Iterable[int],
    split: str,
    load_engine: EngineConfig,
) -> Iterator[Scenario]:
    spec, chosen = spec_of(settings), list(seeds)
    for load in loads:
        if load is None:
            raise ConfigError(
                f"workload '{settings.name}' has no rate of its own, only a trace with times has; give loads"
            )
        for seed in chosen:
            workload = _fitted(generate_on(load_engine, spec, _entropy(split, seed), load), engine, settings)
            yield Scenario(f"load {load:g}", workload, load, seed)


def _replayed(
    engine: EngineConfig,
    settings: WorkloadSettings,
    loads: Sequence[float | None],
    seeds: Iterable[int],
    split: str,
    load_engine: EngineConfig,
) -> Iterator[Scenario]:
    """The trace with readers drawn anew for each seed, at its own rate or stretched to each load."""
    rate = 0.0 if all(load is None for load in loads) else saturation_rate(load_engine, spec_of(settings))
    for seed in seeds:
        trace = _fitted(_recorded(settings, _entropy(split, seed)), engine, settings)
        for load in loads:
            if load is None:
                yield Scenario("as recorded", trace, None, seed)
            else:
                yield Scenario(f"load {load:g}", trace.at_rate(load * rate), load, seed)


def _recorded(settings: WorkloadSettings, seed: int | SeedSequence) -> Workload:
    """The part of the trace that is replayed, with readers drawn from `seed`."""
    assert settings.trace is not None
    if settings.multi_round is not None:
        raise ConfigError(
            "workload.multi_round makes conversations, a replayed trace has its own; leave one of them out"
        )
    if settings.segments:
        raise ConfigError("workload.segments draws requests, a replayed trace has its own; leave one of them out")
    parts = {part: getattr(settings, part) for part in ("readers", "ttft", "skip_zero", "users", "patience")}
    trace = load_trace(settings.trace, seed=seed, **parts)
    trace = trace.head(settings.requests) if settings.requests else trace
    return trace.between(0.0, settings.duration_s) if settings.duration_s else trace


def workload_at_rate(settings: WorkloadSettings, seed: int, rate: float) -> Workload:
    """One workload for a server whose saturation nobody knows: a trace at its own rate, or traffic at so many requests/s.

    Args:
        settings: Traffic; `rescale` stretches a trace to the rate.
        seed: Of everything drawn.
        rate: Mean arrival rate, requests/s.
    """
    if not is_replayed(settings):
        return generate(spec_of(settings), seed, rate)
    trace = _recorded(settings, seed)
    return trace.at_rate(rate) if settings.rescale else trace


def _fitted(workload: Workload, engine: EngineConfig, settings: WorkloadSettings) -> Workload:
    if drops_long(settings):
        return workload.fitting(engine)[0]
    workload.check_fits(engine)
    return workload


def drops_long(settings: WorkloadSettings) -> bool:
    """Whether requests that are too long are dropped instead of refused."""
    if settings.on_too_long not in ("refuse", "drop"):
        raise UnknownNameError("workload.on_too_long", settings.on_too_long, ("refuse", "drop"))
    return settings.on_too_long == "drop"


def seed_range(count: int) -> range:
    """The first `count` seeds of a split.

    Raises:
        ConfigError: If there is none.
    """
    if count < 1:
        raise ConfigError(f"asked for {count} workload seeds; need at least 1")
    return range(count)


def check_split(split: str) -> None:
    """Refuse a split that does not exist.

    Raises:
        UnknownNameError: Naming those that do.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)


def _entropy(split: str, seed: int) -> SeedSequence:
    """Entropy of one workload of a split."""
    check_split(split)
    return SeedSequence(SPLITS[split], spawn_key=(seed,))
