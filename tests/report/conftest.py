from dataclasses import replace

import numpy as np
import pytest

from andes_engine.engine import EngineConfig
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import simulate
from andes_engine.workload import Workload

ENGINE = EngineConfig("sim a100", "a100_llama3_8b", kv_blocks=300)
LOADS = (1.0, 6.0)


def poisson(seed: int, rate: float, n: int = 80) -> Workload:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate, n))
    prompt, output = rng.integers(50, 600, n), rng.integers(50, 400, n)
    return Workload(f"poisson-{seed}", arrival_s, prompt, output, np.ones(n), np.full(n, 0.2))


@pytest.fixture(scope="session")
def runs_by_load() -> dict[float, list[RunRecord]]:
    return {
        load: [
            simulate(ENGINE, poisson(seed, load), scheduler, token_log=True)
            for seed in range(2)
            for scheduler in ("fcfs", "andes")
        ]
        for load in LOADS
    }


@pytest.fixture(scope="session")
def busy(runs_by_load) -> list[RunRecord]:
    return runs_by_load[LOADS[-1]]


@pytest.fixture(scope="session")
def cut_short() -> RunRecord:
    return simulate(ENGINE, poisson(0, LOADS[-1]), "fcfs", until_s=10.0, token_log=True)


@pytest.fixture(scope="session")
def live(busy) -> list[RunRecord]:
    """Stands for runs on another engine: only what a table reads of it matters."""
    return [replace(run, engine="vllm") for run in busy[:1]]
