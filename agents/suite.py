"""What a comparison runs: named settings of engine, traffic, loads and seeds, and the runs they make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agents.build import Scenario, check_split, scenarios, seed_range
from agents.config import WorkloadSettings
from agents.pool import Job
from agents.schema import ConfigError
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig


@dataclass(frozen=True, slots=True)
class Setting:
    """One engine under one kind of traffic.

    Args:
        name: What tables call it; different for every setting of a suite.
        engine: The simulated engine.
        workload: Traffic.
        loads: Shares of what FCFS saturates at; None for a trace at its own rate.
        seeds: Workloads at each load.
        split: Split they are drawn from, one of `build.SPLITS`.
        load_engine: Engine whose saturation is load 1, so that variants of an engine get the same requests; by default `engine`.
        contenders: Who takes part here; by default those of the suite.

    Raises:
        ConfigError: If there is no load or seed, or a load is not positive.
        UnknownNameError: If there is no such split.
    """

    name: str
    engine: EngineConfig
    workload: WorkloadSettings
    loads: tuple[float | None, ...] = (1.0,)
    seeds: int = 3
    split: str = "held_out"
    load_engine: EngineConfig | None = None
    contenders: tuple[Contender, ...] = ()

    def __post_init__(self) -> None:
        if not (self.loads and all(load is None or (math.isfinite(load) and load > 0.0) for load in self.loads)):
            raise ConfigError(
                f"{self._where}loads = {list(self.loads)} must be one or more shares of saturation, finite and > 0"
            )
        seed_range(self.seeds)
        check_split(self.split)

    @property
    def _where(self) -> str:
        return f"setting '{self.name}': " if self.name else ""

    def scenarios(self) -> list[Scenario]:
        """Its workloads, drawn or replayed, in a fixed order."""
        engine = self.load_engine or self.engine
        return list(scenarios(self.engine, self.workload, self.loads, seed_range(self.seeds), self.split, engine))

    def stratum(self, scenario: Scenario) -> str:
        """What a stratum of statistics and tables is called: the setting and the load."""
        return f"{self.name}, {scenario.stratum}" if self.name else scenario.stratum


class Run(NamedTuple):
    """One run to make: who, where, on which requests."""

    setting: Setting
    scenario: Scenario
    contender: Contender

    @property
    def stratum(self) -> str:
        """Setting and load."""
        return self.setting.stratum(self.scenario)

    @property
    def job(self) -> Job:
        """The run for a worker."""
        label = f"'{self.contender.name}' in '{self.stratum}' (seed {self.scenario.seed})"
        return Job(label, self.setting.engine, self.scenario.workload, self.contender)


@dataclass(frozen=True, slots=True)
class Suite:
    """Settings that are run together.

    Args:
        name: For reports; empty for a comparison of one setting.
        settings: One or more.

    Raises:
        ConfigError: If there is none, or two have one name.
    """

    name: str
    settings: tuple[Setting, ...]

    def __post_init__(self) -> None:
        if not self.settings:
            raise ConfigError(f"suite '{self.name}' is empty; give it at least one engine, workload, load and seed")
        names = [setting.name for setting in self.settings]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"suite '{self.name}' has two settings '{twice}'; give each a name of its own")

    def runs(self, contenders: Sequence[Contender] = ()) -> list[Run]:
        """Every run, in a fixed order; draws all workloads, so that whatever cannot work is told before anything runs.

        Raises:
            AndesError: If a workload cannot be made or does not fit its engine, or nobody takes part.
        """
        return [run for setting in self.settings for run in _runs(setting, setting.contenders or tuple(contenders))]


def _runs(setting: Setting, contenders: Sequence[Contender]) -> Iterator[Run]:
    names = [entry.name for entry in contenders]
    if not names:
        raise ConfigError(f"nobody takes part in setting '{setting.name}'; give at least one contender")
    if len(set(names)) != len(names):
        raise ConfigError(f"contenders need different names, got {names}")
    for scenario in setting.scenarios():
        for contender in contenders:
            yield Run(setting, scenario, contender)
