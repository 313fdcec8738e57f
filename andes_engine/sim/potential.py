"""Best-case QoE of a whole workload: the potential behind the exact reward, and the upper bound of an unfinished run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.native import native
from andes_engine.request import best_case_qoe
from andes_engine.sim import state as st
from andes_engine.sim.state import Engines, example_engine, example_engines, one

FloatArray = NDArray[np.float64]


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


@native(lambda: (*example_engines(), 0, 0, np.zeros(1)))
@compiled_allocating
def potentials_of(engines: Engines, first: int, end: int, totals: FloatArray) -> None:
    """Write the sum of best-case QoE over each workload of the engines from `first` to before `end`. Shape (engines,)."""
    for index in range(first, end):
        engine = one(engines, index)
        limit, arrived = engine.registers[st.R_LIMIT], engine.registers[st.R_NEXT_ARRIVAL]
        totals[index] = limit - arrived
        for row in range(arrived):
            totals[index] += _best_case(engine, row)
