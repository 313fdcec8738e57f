"""Best-case QoE of a whole workload: the potential behind the exact reward, and the upper bound of an unfinished run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.native import native
from andes_engine.request import best_case_qoe
from andes_engine.sim import state as st
from andes_engine.sim.state import Engines, example_engine

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@native(lambda: (*example_engine(), np.zeros(1)))
def best_case_qoe_of(engine: Engines, values: FloatArray) -> None:
    """Write each request's QoE if all its missing tokens came now; 1 before arrival. Shape (rows,)."""
    values[:] = 1.0
    for row in range(engine.registers[st.R_NEXT_ARRIVAL]):
        values[row] = _best_case(engine, row)


@compiled
def _best_case(engine: Engines, row: int) -> float:
    """Best-case QoE now, or when the reader left."""
    return best_case_qoe(engine.table, row, engine.output_tokens[row], min(engine.now_s[0], engine.abort_s[row]))


class Unsettled(NamedTuple):
    """Requests whose best case can still change, so that a sum over a long workload looks at those alone.

    Attributes:
        rows: Their rows, the first `counts[:, 0]` of each engine. Shape (engines, rows).
        counts: How many they are, and how many requests had arrived when they were looked at. Shape (engines, 2).
        settled: QoE of all who have finished. Shape (engines,).
    """

    rows: IntArray
    counts: IntArray
    settled: FloatArray

    def forget(self, index: int) -> None:
        """An engine starts anew."""
        self.counts[index], self.settled[index] = 0, 0.0


def no_requests(engines: int, rows: int) -> Unsettled:
    """Before anybody has arrived."""
    return Unsettled(
        np.zeros((engines, rows), dtype=np.int64), np.zeros((engines, 2), dtype=np.int64), np.zeros(engines)
    )


@compiled
def add_up(engine: Engines, unsettled: Unsettled, index: int) -> float:
    """Sum of best-case QoE over the workload of the engine at `index`."""
    arrived = engine.registers[st.R_NEXT_ARRIVAL]
    rows, known, seen = unsettled.rows[index], unsettled.counts[index, 0], unsettled.counts[index, 1]
    kept, open_qoe = 0, 0.0
    for place in range(known + arrived - seen):
        row = rows[place] if place < known else seen + place - known
        value = _best_case(engine, row)
        if np.isfinite(engine.finish_s[row]):
            unsettled.settled[index] += value
        else:
            open_qoe += value
            rows[kept] = row
            kept += 1
    unsettled.counts[index, 0], unsettled.counts[index, 1] = kept, arrived
    return engine.registers[st.R_LIMIT] - arrived + unsettled.settled[index] + open_qoe
