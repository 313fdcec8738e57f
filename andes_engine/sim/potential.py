"""Best-case QoE of a whole workload: the potential behind the exact reward, and the upper bound of an unfinished run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.request import best_case_qoe
from andes_engine.sim import state as st
from andes_engine.sim.state import Engines, one

FloatArray = NDArray[np.float64]


@compiled_allocating
def best_case_qoe_of(engine: Engines) -> FloatArray:
    """Each request's QoE if all its missing tokens came now; 1 before arrival. Shape (rows,)."""
    values = np.ones(engine.waiting.shape[0])
    for row in range(engine.registers[st.R_NEXT_ARRIVAL]):
        values[row] = _best_case(engine, row)
    return values


@compiled
def _best_case(engine: Engines, row: int) -> float:
    """Best-case QoE now, or when the reader left."""
    return best_case_qoe(engine.table, row, engine.output_tokens[row], min(engine.now_s[0], engine.abort_s[row]))


@compiled_allocating
def potentials_of(engines: Engines) -> FloatArray:
    """Sum of best-case QoE over each engine's workload. Shape (engines,)."""
    totals = np.zeros(engines.now_s.shape[0])
    for index in range(len(totals)):
        engine = one(engines, index)
        limit, arrived = engine.registers[st.R_LIMIT], engine.registers[st.R_NEXT_ARRIVAL]
        totals[index] = limit - arrived
        for row in range(arrived):
            totals[index] += _best_case(engine, row)
    return totals
