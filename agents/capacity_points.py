"""Points of a capacity search, each kept on disk as soon as it is simulated: one that was stopped makes none twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agents.capacity_search import Point
from agents.capacity_traffic import CommonTraffic
from agents.json_file import drop_half_a_line
from agents.rows import ContenderRow, content_hash
from agents.run_dir import made_with, plain
from agents.schema import ConfigError
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.sim.run import run_simulated
from andes_engine.workload import Workload


class KeptPoints:
    """Mean QoE by the hash of all that made it: engine, requests, contender, commit and versions.

    Args:
        path: A line for each point; made if it is not there. None keeps nothing on disk.

    Raises:
        ConfigError: If a line is no point.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._made_with = made_with()
        self._found: dict[str, float] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            drop_half_a_line(path)
            lines = path.read_text(encoding="utf-8").splitlines()
            self._found.update(_point(line, f"{path}, line {row}") for row, line in enumerate(lines, 1))

    def key(self, engine: EngineConfig, workload: Workload, contender: Contender) -> str:
        """What a point is known by."""
        who = ContenderRow.of(replace(contender, name=""))
        return content_hash(plain([engine, workload.fingerprint, who, self._made_with]))

    def __contains__(self, key: str) -> bool:
        """Whether a point is known."""
        return key in self._found

    def __getitem__(self, key: str) -> float:
        """Mean QoE at a known point."""
        return self._found[key]

    def add(self, key: str, qoe: float) -> None:
        """Keep a point."""
        self._found[key] = qoe
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([key, qoe]) + "\n")


def _point(line: str, where: str) -> tuple[str, float]:
    try:
        key, qoe = json.loads(line)
        return str(key), float(qoe)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: no point of a capacity search ({error}); remove the line") from None


@dataclass(frozen=True, slots=True)
class Simulated:
    """`capacity_search.Evaluate` by the simulator.

    Args:
        traffic: The workloads at each load.
        contenders: Who takes part, by label.
        pool: Processes, or None to stay in this one.
        bar: Shows each point.
        kept: Points that need not be simulated, and where new ones go.
    """

    traffic: CommonTraffic
    contenders: Mapping[str, Contender]
    pool: Executor | None
    bar: tqdm
    kept: KeptPoints

    def __call__(self, points: Sequence[Point]) -> list[float]:
        """Mean QoE at each point."""
        drawn = {load: self.traffic.at(load) for load in {point.load for point in points}}
        runs = [(drawn[point.load][point.seed], self.contenders[point.contender]) for point in points]
        keys = [self.kept.key(self.traffic.engine, *run) for run in runs]
        missing = {key: run for key, run in zip(keys, runs, strict=True) if key not in self.kept}
        self.bar.update(len(runs) - len(missing))
        for key, qoe in zip(missing, self._simulated(missing.values()), strict=True):
            self.kept.add(key, qoe)
            self.bar.update()
        return [self.kept[key] for key in keys]

    def _simulated(self, runs: Iterable[tuple[Workload, Contender]]) -> Iterable[float]:
        one = partial(_mean_qoe, self.traffic.engine)
        return self.pool.map(one, runs) if self.pool else map(one, runs)


def _mean_qoe(engine: EngineConfig, run: tuple[Workload, Contender]) -> float:
    return float(np.mean(run_simulated(engine, *run).qoe))
