"""Compile everything once and keep it: `python -m andes_engine.sim.warm_up`. Set-up runs it, so that no first run waits."""

from __future__ import annotations

import time

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.step_time import preset
from andes_engine.workload import Workload


def warm_up() -> float:
    """Run each compiled function once; returns the seconds it took."""
    started_s = time.monotonic()
    engine = EngineConfig("warm-up", preset("a100_llama3_8b"), kv_blocks=16)
    ones = np.ones(8)
    lengths = np.full(8, 50)
    workload = Workload("warm-up", np.zeros(8), lengths, lengths, ones, 0.2 * ones)
    simulator = Simulator([engine], 8, token_log=480)
    simulator.reset(0, workload, "andes", Knobs())
    simulator.advance(DRAIN)
    simulator.observations()
    simulator.potential(0)
    simulator.record(0, "andes")
    return time.monotonic() - started_s


if __name__ == "__main__":
    print(f"compiled in {warm_up():.0f} s")
