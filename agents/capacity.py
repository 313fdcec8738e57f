"""How much traffic each contender carries at a target QoE, and how many GPUs that saves, in the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from agents.bootstrap import percentile_interval
from agents.build import contenders_from, spec_of
from agents.capacity_points import KeptPoints, Simulated
from agents.capacity_search import Curve, Search, search_capacity
from agents.capacity_traffic import CommonTraffic
from agents.config import SchedulerSettings, WorkloadSettings
from agents.pool import processes
from agents.run_dir import RESULTS, RunDir, plain
from agents.schema import ConfigError
from andes_engine.contender import Contender
from andes_engine.cores import available_cores
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.report.capacity import (
    Capacity,
    CapacityRatio,
    capacity_figure,
    capacity_grid,
    capacity_sentences,
)
from andes_engine.report.figures import save
from andes_engine.report.grid import Grid
from andes_engine.workload.generate import saturation_rate

POINTS = "points.jsonl"


@dataclass(frozen=True, slots=True)
class CapacityConfig:
    """`conf/capacity.yaml`.

    Args:
        seed: Seed of the bootstrap; which workloads are drawn is fixed.
        run_dir: Where everything goes.
        engine: The simulated engine.
        workload: Traffic; a trace is stretched to each load.
        contenders: Schedulers with fixed knobs.
        search: Target QoE, workloads and loads.
        policy: Folder of a policy bundle that takes part as well.
        trace: Recorded trace; reaches the workload through its file.
        references: Contenders that every other is measured against.
        workers: Processes; 0 for one per core.
    """

    seed: int
    run_dir: str
    engine: EngineConfig
    workload: WorkloadSettings
    contenders: Mapping[str, SchedulerSettings]
    search: Search
    policy: str | None = None
    trace: str | None = None
    references: tuple[str, ...] = ("fcfs",)
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Capacities:
    """What a search found.

    Args:
        search: What was searched.
        saturation_rate: Requests/s at load 1.
        capacities: One for each contender.
        ratios: Every contender over every reference.
    """

    search: Search
    saturation_rate: float
    capacities: tuple[Capacity, ...]
    ratios: tuple[CapacityRatio, ...]

    def grid(self, title: str) -> Grid:
        """The table of capacities, ratios and GPUs saved."""
        return capacity_grid(self.capacities, self.ratios, self.search.target, title)

    @property
    def sentences(self) -> list[str]:
        """The ratios in words."""
        return capacity_sentences(self.ratios, self.search.target)


@dataclass(frozen=True, slots=True)
class CapacityRun:
    """A search and where it was written."""

    run_dir: Path
    found: Capacities
    grid: Grid


def capacity(
    engine: EngineConfig,
    workload: WorkloadSettings,
    contenders: Sequence[Contender],
    search: Search,
    references: Sequence[str] = ("fcfs",),
    seed: int = 0,
    workers: int = 1,
    progress: bool = False,
    kept: Path | None = None,
) -> Capacities:
    """Search the capacity of every contender on the same workloads.

    Args:
        engine: The simulated engine.
        workload: Traffic, drawn from the held-out seeds; a trace is stretched to each load.
        contenders: Who takes part.
        search: Target QoE, workloads and loads.
        references: Names of contenders that every other is measured against.
        seed: Seed of the bootstrap.
        workers: Processes; 1 stays in this one, 0 means one per core.
        progress: Whether to show a progress bar (only on a terminal).
        kept: File that keeps each point, so that a search that was stopped goes on there.

    Raises:
        ConfigError: If two contenders have one name, or the file is damaged.
        UnknownNameError: If a reference does not take part.
        BracketError: If a capacity lies outside the searched loads.
    """
    labels = _labels(contenders, references)
    by_label = {entry.label: entry for entry in contenders}
    traffic = CommonTraffic.up_to(search.high, engine, workload, search.seeds)
    usual = len(contenders) * search.usual_loads * search.seeds
    with _pool(workers) as pool, tqdm(total=usual, desc="simulating", disable=None if progress else True) as bar:
        simulated = Simulated(traffic, by_label, pool, bar, KeptPoints(kept))
        curves = search_capacity(list(by_label), simulated, search, seed)
        bar.total = bar.n
    return capacities_of(
        curves, search, saturation_rate(engine, spec_of(workload)), [labels[name] for name in references], seed
    )


def capacities_of(
    curves: Mapping[str, Curve], search: Search, rate: float, references: Sequence[str], seed: int = 0
) -> Capacities:
    """Capacities, ratios and intervals from curves; ratios resample the seeds of both contenders together."""
    drawn = {name: curve.resampled(search.target, seed) for name, curve in curves.items()}
    loads = {name: curve.crossing(search.target) for name, curve in curves.items()}
    found = []
    for name, curve in curves.items():
        low, high = percentile_interval(drawn[name])
        monotone, bounded = curve.monotone(search.target), not (low <= search.low or high >= search.high)
        found.append(
            Capacity(name, loads[name], low, high, loads[name] * rate, monotone, bounded, curve.loads, curve.qoe)
        )
    ratios = tuple(
        CapacityRatio(name, other, loads[name] / loads[other], *percentile_interval(drawn[name] / drawn[other]))
        for place, other in enumerate(references)
        for name in curves
        if name not in references[: place + 1]
    )
    return Capacities(search, rate, tuple(found), ratios)


def run_capacity(config: CapacityConfig) -> CapacityRun:
    """Search, and write `results.json` and the figure of QoE against load; goes on where it was stopped.

    Raises:
        AndesError: If the configuration cannot work, or a capacity lies outside the searched loads.
    """
    contenders = contenders_from(config.contenders, config.policy)
    _labels(contenders, config.references)  # refused before there is a run directory
    kept = Path(config.run_dir) / POINTS
    stopped = kept.is_file() and not (kept.parent / RESULTS).exists()
    run = RunDir.create(config.run_dir, plain(config), config.seed, go_on=stopped)
    found = capacity(
        config.engine,
        config.workload,
        contenders,
        config.search,
        config.references,
        config.seed,
        config.workers,
        progress=True,
        kept=kept,
    )
    savings = [dict(zip(("saving", "low", "high"), entry.saving, strict=True)) for entry in found.ratios]
    run.write_results({**plain(found), "gpu_savings": savings})
    save(capacity_figure(found.capacities, config.search.target), run.path / "figures" / "capacity")
    traffic = Path(config.trace).stem if config.trace else config.workload.name
    return CapacityRun(
        run.path,
        found,
        found.grid(f"Capacity at mean QoE >= {config.search.target:g}: {traffic}, {config.engine.name}"),
    )


def _labels(contenders: Sequence[Contender], references: Sequence[str]) -> dict[str, str]:
    """Label of each contender by name; refuses names that are not unique, and references that do not take part."""
    labels = {entry.name: entry.label for entry in contenders}
    if not labels or len(labels) != len(contenders):
        raise ConfigError(f"need contenders with different names, got {[entry.name for entry in contenders] or 'none'}")
    for reference in references:
        if reference not in labels:
            raise UnknownNameError("reference contender", reference, labels)
    return labels


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """Processes for the whole search, or None to stay in this one."""
    count = workers or available_cores()
    with processes(count) if count > 1 else nullcontext() as pool:
        yield pool
