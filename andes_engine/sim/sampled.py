"""What an engine looks like while it runs: memory, queue, preemptions and knobs, sampled in engine time.

The run is the one of `run.run_simulated`; a test holds the two together bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.knobs import KNOB_NAMES
from andes_engine.records import RunRecord
from andes_engine.sim import state as st
from andes_engine.sim.run import run_simulated
from andes_engine.sim.simulator import Simulator
from andes_engine.workload import Workload

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EngineSamples:
    """State of one engine at evenly spaced times. Arrays have shape (m,) unless said otherwise.

    Args:
        kv_blocks: KV blocks the engine has.
        at_s: Time of each sample, s; the first is 0.
        free_blocks: Free KV blocks.
        running: Running requests.
        waiting: Requests queued when the last iteration began, preempted ones included.
        preemptions: Preemptions so far.
        knobs: Knobs in force up to each sample, in the order of `knobs.KNOBS`. Shape (m, KNOB_COUNT).
    """

    kv_blocks: int
    at_s: FloatArray
    free_blocks: IntArray
    running: IntArray
    waiting: IntArray
    preemptions: IntArray
    knobs: FloatArray

    @property
    def kv_used(self) -> FloatArray:
        """Share of KV blocks in use."""
        return 1.0 - self.free_blocks / self.kv_blocks

    def knob(self, name: str) -> FloatArray:
        """One knob over time."""
        return self.knobs[:, KNOB_NAMES.index(name)]


class Sampler:
    """Advances a simulator of one engine and looks at it on the way.

    Args:
        every_s: Engine time between two looks, s.

    Raises:
        AndesError: If `every_s` is not a finite number > 0.
    """

    def __init__(self, every_s: float) -> None:
        if not (np.isfinite(every_s) and every_s > 0.0):
            raise AndesError(f"every_s = {every_s} must be a finite number of seconds > 0")
        self._every_s = every_s
        self._rows: list[tuple[int, ...]] = []
        self._knobs: list[FloatArray] = []

    def advance(self, simulator: Simulator, until_s: float) -> None:
        """`Simulator.advance`, interrupted at each sampling time; an iteration under way then is counted as done."""
        while (due_s := len(self._rows) * self._every_s) <= until_s and not simulator.drained(0):
            simulator.advance(due_s)
            self.look(simulator)
        simulator.advance(until_s)

    def look(self, simulator: Simulator) -> None:
        """Take one sample now."""
        mine = simulator.of(0)
        registers = mine.registers[[st.R_FREE_BLOCKS, st.R_RUNNING, st.R_WAITING]]
        self._rows.append((*registers.tolist(), int(mine.counters[ct.PREEMPTIONS])))
        self._knobs.append(mine.knobs.copy())

    def samples(self, kv_blocks: int) -> EngineSamples:
        """What was seen."""
        free, running, waiting, preemptions = np.array(self._rows, dtype=np.int64).reshape(-1, 4).T
        at_s = np.arange(len(self._rows), dtype=np.float64) * self._every_s
        return EngineSamples(kv_blocks, at_s, free, running, waiting, preemptions, np.array(self._knobs))


def run_sampled(
    engine: EngineConfig, workload: Workload, contender: Contender, every_s: float
) -> tuple[RunRecord, EngineSamples]:
    """Run a workload until drained, with token times, sampled every `every_s` of engine time; errors as in `run_simulated`."""
    sampler = Sampler(every_s)
    record = run_simulated(engine, workload, contender, token_log=True, advance=sampler.advance)
    return record, sampler.samples(engine.kv_blocks)
