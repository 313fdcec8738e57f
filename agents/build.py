"""From configuration to the project's own values: the one place where settings become engines, workloads, environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from numpy.random import SeedSequence

from agents.config import CompareConfig, SchedulerSettings, TrainConfig, WorkloadSettings
from agents.export import policy_folder
from agents.schema import ConfigError
from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.policy.bundle import load_bundle
from andes_engine.workload import Workload
from andes_engine.workload.generate import WorkloadSpec, generate, saturation_rate
from andes_engine.workload.lengths import EmpiricalLengths
from andes_engine.workload.spec import workload_spec
from andes_engine.workload.trace import load_trace, read_trace
from andes_engine.workload.trace_lines import has_times
from envs.config import EnvConfig

SPLITS = {"validation": 0x5EED_0A1D, "held_out": 0x4E1D_0047}
"""Entropy of the fixed workload sets. Training seeds are small numbers, so no training episode can equal one of these."""

_SPEC_PARTS = tuple(WorkloadSpec.__dataclass_fields__.keys() & WorkloadSettings.__dataclass_fields__.keys())


class Scenario(NamedTuple):
    """One workload of a comparison, and the label of the load it belongs to."""

    stratum: str
    workload: Workload


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


def validation_scenarios(config: TrainConfig) -> list[Scenario]:
    """The workloads that choose between checkpoints: fixed, every kind of traffic of the training, on its first engine."""
    settings = config.train
    return [
        Scenario(f"{traffic.name}, {stratum}", workload)
        for traffic in (config.workload, *config.more_workloads.values())
        for stratum, workload in _drawn(config.engine, traffic, settings.eval_loads, settings.eval_seeds, "validation")
    ]


def compare_scenarios(config: CompareConfig) -> list[Scenario]:
    """The workloads of a comparison: a replayed trace, or drawn traffic at each load."""
    settings = replace(config.workload, trace=config.trace) if config.trace else config.workload
    return _scenarios(config.engine, settings, config.loads, config.seeds, config.split)


def held_out(engine: EngineConfig, settings: WorkloadSettings, load: float, count: int) -> list[Workload]:
    """Workloads of the held-out split at one load: a replayed trace (stretched if it is to be rescaled), or drawn traffic."""
    return [scenario.workload for scenario in _scenarios(engine, settings, (load,), count, "held_out")]


def held_out_bursts(engine: EngineConfig, settings: WorkloadSettings, load: float, count: int) -> list[Workload]:
    """Workloads of the held-out split, drawn at one load, in shares of what FCFS saturates at."""
    return [scenario.workload for scenario in _drawn(engine, settings, (load,), count, "held_out")]


def contenders_from(schedulers: Mapping[str, SchedulerSettings], policy: str | None) -> list[Contender]:
    """The configured schedulers, and the policy of a bundle or training run if there is one."""
    contenders = [settings.contender for settings in schedulers.values()]
    if policy:
        bundle = load_bundle(policy_folder(policy))
        contenders.append(Contender(bundle.name, bundle=bundle))
    return contenders


def _scenarios(
    engine: EngineConfig, settings: WorkloadSettings, loads: tuple[float, ...], seeds: int, split: str
) -> list[Scenario]:
    make = _replayed if settings.trace and has_times(settings.trace) else _drawn
    return list(make(engine, settings, loads, seeds, split))


def _drawn(
    engine: EngineConfig, settings: WorkloadSettings, loads: tuple[float, ...], seeds: int, split: str
) -> Iterator[Scenario]:
    spec = spec_of(settings)
    rate = saturation_rate(engine, spec)
    for load in loads:
        for seed in _seeds(split, seeds):
            yield Scenario(f"load {load:g}", _fitted(generate(spec, seed, load * rate), engine, settings))


def _replayed(
    engine: EngineConfig, settings: WorkloadSettings, loads: tuple[float, ...], seeds: int, split: str
) -> Iterator[Scenario]:
    """The trace with readers drawn anew for each seed, at its own rate or stretched to each load."""
    for seed in _seeds(split, seeds):
        trace = _fitted(_recorded(settings, seed), engine, settings)
        if not settings.rescale:
            yield Scenario("as recorded", trace)
            continue
        rate = saturation_rate(engine, spec_of(settings))
        for load in loads:
            yield Scenario(f"load {load:g}", trace.at_rate(load * rate))


def _recorded(settings: WorkloadSettings, seed: int | SeedSequence) -> Workload:
    """The part of the trace that is replayed, with readers drawn from `seed`."""
    assert settings.trace is not None
    if settings.multi_round is not None:
        raise ConfigError(
            "workload.multi_round makes conversations, a replayed trace has its own; leave one of them out"
        )
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
    if not (settings.trace and has_times(settings.trace)):
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


def _seeds(split: str, count: int) -> list[SeedSequence]:
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if count < 1:
        raise ConfigError(f"asked for {count} workload seeds; need at least 1")
    return SeedSequence(SPLITS[split]).spawn(count)
