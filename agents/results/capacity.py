"""Capacity at a mean QoE: searched, recorded as curves of QoE against load, and set against the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.bootstrap import percentile_interval, seed_noise
from agents.capacity import capacity
from agents.capacity_search import BracketError, Curve, Search
from agents.config import WorkloadSettings
from agents.results.arms import Arm
from agents.results.config import SIZES, ResultsConfig
from agents.results.effects import Effect
from agents.results.goals import GoalRow, gained
from agents.results.kept_curves import LOAD_STEP, QOE_STEP, Curves, read_curves
from agents.results.measure import contender_hash
from agents.rows import content_hash
from agents.run_dir import plain
from andes_engine.report.grid import Cell, Column, Grid

FILE = "capacity.parquet"
RATIOS = {"tuned_andes": 1.08, "andes": 1.5}
"""Ratio to reach over each."""


def search_curves(config: ResultsConfig, arms: Sequence[Arm]) -> tuple[Curves, list[str]]:
    """Curves of everybody who takes part, searched where they are not recorded; and what could not be found."""
    size, recorded, told = SIZES[config.size], _recorded(config), []
    search, made = size.search(config.capacity), Curves()
    for name in list(config.capacity_workloads)[: 1 if size.share < 1.0 else None]:
        workload, before = size.traffic(config.capacity_workloads[name]), recorded.get(name, {})
        hashes = {arm.name: _hash(config, search, workload, arm) for arm in arms}
        made[name] = {arm.name: before[arm.name] for arm in arms if _stands(config, arm, before, hashes[arm.name])}
        missing = [arm for arm in arms if arm.members and arm.name not in made[name] and config.rerun != "none"]
        found, failed = _searched(config, workload, search, missing, Path(config.run_dir) / f"capacity_{name}.jsonl")
        made[name] |= {arm: {"hash": hashes[arm], "seeds": seeds} for arm, seeds in found.items()}
        told += [f"{name}: not found. {error}" for error in failed]
    return made, told


def _stands(config: ResultsConfig, arm: Arm, before: Mapping[str, Mapping[str, Any]], now: str) -> bool:
    """Whether a recorded curve is taken."""
    if arm.name not in before:
        return False
    return not arm.members or config.rerun == "none" or (config.rerun == "missing" and before[arm.name]["hash"] == now)


def _searched(
    config: ResultsConfig, workload: WorkloadSettings, search: Search, arms: Sequence[Arm], kept: Path
) -> tuple[dict[str, dict[str, Any]], list[BracketError]]:
    """Curves by arm and training seed; where one lies outside the searched loads, each arm by itself."""
    if not arms:
        return {}, []
    who = [member.contender for arm in arms for member in arm.members]
    try:
        found = capacity(
            config.capacity_engine, workload, who, search, (), config.seed, config.processes, progress=True, kept=kept
        )
    except BracketError as error:
        if len(arms) == 1:
            return {}, [error]
        apart = [_searched(config, workload, search, [arm], kept) for arm in arms]
        return {name: curves for one, _ in apart for name, curves in one.items()}, [
            error for _, failed in apart for error in failed
        ]
    entries = iter(found.capacities)
    return {
        arm.name: {
            str(member.seed): {"loads": _rounded(entry.loads, LOAD_STEP), "qoe": _rounded(entry.qoe, QOE_STEP)}
            for member, entry in zip(arm.members, entries, strict=False)
        }
        for arm in arms
    }, []


def _rounded(values: np.ndarray, step: float) -> Any:
    """As it is recorded: fresh and recorded curves give the same page."""
    return (np.round(values / step) * step).tolist()


def _recorded(config: ResultsConfig) -> Curves:
    return read_curves(Path(config.recorded) / FILE) if config.recorded and SIZES[config.size].share == 1.0 else {}


def _hash(config: ResultsConfig, search: Search, workload: WorkloadSettings, arm: Arm) -> str:
    return content_hash(plain([config.capacity_engine, workload, search, [contender_hash(one) for one in arm.members]]))


def capacity_goals(curves: Curves, policy: str | None, target: float, seed: int) -> list[GoalRow]:
    """Goal (f): the policy's capacity over that of the others, on each kind of traffic."""
    rows = []
    for name, by_arm in curves.items():
        for reference, least in RATIOS.items():
            found = ratio(by_arm, policy, reference, target, seed)
            what = f"capacity at mean QoE >= {target:g}, {name}: policy over {reference}"
            rows.append(GoalRow("f", what, f"{least:g} times", found, gained(found, least - 1.0, nothing=1.0), ".2f"))
    return rows


def ratio(
    by_arm: Mapping[str, Mapping[str, Any]], candidate: str | None, reference: str, target: float, seed: int = 0
) -> Effect | None:
    """Capacity of one arm, over its training seeds, over another's; workloads are resampled for both together."""
    if candidate is None or candidate not in by_arm or reference not in by_arm:
        return None
    (ours, our_draws), (theirs, their_draws) = (_capacity(by_arm[arm], target, seed) for arm in (candidate, reference))
    values = ours / theirs.mean()
    drawn = our_draws / their_draws + seed_noise(values, np.random.default_rng(seed))
    low, high = percentile_interval(drawn)
    workloads = len(next(iter(by_arm[candidate]["seeds"].values()))["qoe"])
    return Effect(float(values.mean()), low, high, len(ours), workloads)


def _capacity(entry: Mapping[str, Any], target: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Capacity of each training seed, and bootstrap replicates of their mean."""
    curves = [Curve(np.array(one["loads"]), np.array(one["qoe"])) for one in entry["seeds"].values()]
    loads = np.array([curve.crossing(target) for curve in curves])
    return loads, np.mean([curve.resampled(target, seed) for curve in curves], axis=0)


def capacity_grid(curves: Curves, search: Search, seed: int) -> Grid:
    """A row for each arm and kind of traffic: its capacity, and the ratios."""
    columns = [Column("traffic", numeric=False), Column("who", numeric=False), Column("load")]
    columns += [Column(f"over {reference}") for reference in RATIOS]
    rows = []
    for name, by_arm in curves.items():
        for arm, entry in by_arm.items():
            loads, drawn = _capacity(entry, search.target, seed)
            low, high = percentile_interval(drawn + seed_noise(loads, np.random.default_rng(seed)))
            mine = Effect(float(loads.mean()), low, high, len(loads), search.seeds)
            ratios = [ratio(by_arm, arm, reference, search.target, seed) for reference in RATIOS]
            cells = [
                found.cell(".2f") if found and arm != reference else Cell()
                for found, reference in zip(ratios, RATIOS, strict=True)
            ]
            rows.append((Cell(name), Cell(arm), mine.cell(".2f"), *cells))
    notes = ("Load: share of what FCFS saturates at, at the first crossing of the target; the same requests for all.",)
    return Grid(f"Capacity at mean QoE >= {search.target:g}", tuple(columns), tuple(rows), notes)
