"""The schema of `conf/results.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.capacity_search import Search
from agents.config import CompareConfig, SchedulerSettings, WorkloadSettings
from agents.schema import ConfigError
from agents.suite_settings import SuiteSettings
from agents.suite_size import Size
from andes_engine.engine import EngineConfig
from andes_engine.errors import check_known

SIZES = {"full": Size(1.0, 1000), "smoke": Size(0.05, 2, every=15)}
RERUN = ("all", "missing", "none")


@dataclass(frozen=True, slots=True)
class Ablation:
    """One thing left out.

    Args:
        what: What is left out, in words.
        runs: Training runs or bundles, one for each seed; none for a configured scheduler or recipe of that name.
    """

    what: str
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultsConfig:
    """`conf/results.yaml`.

    Args:
        seed: Of every bootstrap.
        run_dir: Rows and records; started again with the same one, it goes on where it stopped.
        compare: Schedulers that take part; its suite, if any, is not used.
        suites: Suites by name; the goals are about `held_out` and `shifting`.
        capacity: The capacity search.
        capacity_engine: Its engine.
        capacity_workloads: Its traffic, by name.
        capacity_arms: Who takes part in it besides the policies.
        hindsight: Further fixed settings to choose from in hindsight.
        parts_suite: Suite where a choice in hindsight is made for each part of a scenario as well.
        segments: Equal spans of time that its requests are grouped in by arrival.
        overload: Lowest load of the overload grid, in shares of FCFS saturation.
        policies: Recipes of the zoo, or ablations, that the goals are about, the first also in detail; none for the recipe with
            the most training seeds.
        ablations: What is left out, by name.
        curves: Training runs whose learning curves are shown; shell patterns are followed.
        live: Run directories of `scripts.live_benefit`; null for what is recorded.
        notes: A sentence on why for a goal, by its letter.
        size: `full`, or `smoke` for a test of every part.
        rerun: `all`, `missing` (what is not recorded, or has changed), or `none`: the page from recorded rows.
        recorded: Folder of the recorded rows; null for none.
        out: Folder that RESULTS.md, docs/results and the model cards are written into; null for the run directory.
        workers: Processes; 0 for one per core, and one for `smoke`.

    Raises:
        UnknownNameError: If there is no such size or way to run again.
        ConfigError: If a value is out of its range.
    """

    seed: int
    run_dir: str
    compare: CompareConfig
    suites: Mapping[str, SuiteSettings]
    capacity: Search
    capacity_engine: EngineConfig
    capacity_workloads: Mapping[str, WorkloadSettings] = field(default_factory=dict)
    capacity_arms: tuple[str, ...] = ()
    hindsight: Mapping[str, SchedulerSettings] = field(default_factory=dict)
    parts_suite: str = "shifting"
    segments: int = 8
    overload: float = 1.0
    policies: tuple[str, ...] = ()
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    curves: tuple[str, ...] = ()
    live: tuple[str, ...] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    size: str = "full"
    rerun: str = "missing"
    recorded: str | None = None
    out: str | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        check_known("size", (self.size,), SIZES)
        check_known("rerun", (self.rerun,), RERUN)
        if self.segments < 1:
            raise ConfigError(f"segments = {self.segments} must be at least 1")
        if self.size != "full" and self.out is not None:
            raise ConfigError(
                f"size={self.size} is no result: leave out= away, it would replace what is recorded there"
            )
        if not self.suites:
            raise ConfigError("give at least one suite, such as +suite@suites.held_out=held_out")

    @property
    def processes(self) -> int:
        """Processes to run in; of a smoke test one, as more take longer to start than the runs."""
        return self.workers or (0 if self.size == "full" else 1)
