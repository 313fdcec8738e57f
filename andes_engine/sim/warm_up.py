"""Compile everything once and keep it: `python -m andes_engine.sim.warm_up`. Set-up runs it, so that no first run waits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.live_steps import LIVE_FUNCTIONS
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.step_time import preset
from andes_engine.workload import Workload


def first_come(requests: NDArray[Any], now_s: float) -> NDArray[np.float64]:
    """A score of a user's own, oldest first."""
    return now_s - np.asarray(requests["arrival_s"])


def warm_up() -> float:
    """Run each compiled function of the simulator once and load those of a live engine; returns the seconds."""
    started_s = time.monotonic()
    for function in LIVE_FUNCTIONS:
        _ = function.address
    engine = EngineConfig("warm-up", preset("a100_llama3_8b"), kv_blocks=16)
    ones = np.ones(8)
    lengths = np.full(8, 50)
    workload = Workload("warm-up", np.zeros(8), lengths, lengths, ones, 0.2 * ones)
    simulator = Simulator([engine], 8, token_log=480)
    for scheduler in ("andes", f"{__name__}.first_come"):
        simulator.reset(0, workload, scheduler, Knobs(), lengths="hazard")
        simulator.advance(DRAIN)
    simulator.observations()
    simulator.potential(0)
    simulator.record(0, "andes")
    return time.monotonic() - started_s


if __name__ == "__main__":
    print(f"compiled in {warm_up():.0f} s")
