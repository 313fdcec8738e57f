"""Observations of all simulated engines, by the function that also serves live engines (`andes_engine.observation`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled_allocating
from andes_engine.counters import COUNTER_COUNT
from andes_engine.native import native
from andes_engine.observation import OBSERVATION_SIZE, observe
from andes_engine.schedulers import SARATHI
from andes_engine.sim import state as st
from andes_engine.sim.kv_cache import note_cached
from andes_engine.sim.state import Engines, example_engines, one, view_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def _example() -> tuple[object, ...]:
    last = np.zeros((1, COUNTER_COUNT), dtype=np.int64), np.zeros(1)
    return (*example_engines(), 0, 0, *last, np.zeros((1, OBSERVATION_SIZE), dtype=np.float32))


@native(_example)
@compiled_allocating
def observe_all(
    engines: Engines, first: int, end: int, last_counters: IntArray, last_s: FloatArray, out: NDArray[np.float32]
) -> None:
    """Observe engines and remember when, for the next call's "since the last decision".

    Args:
        engines: All engines.
        first: The first to observe.
        end: Where to stop, before this one.
        last_counters: Counters at the last observation, updated. Shape (engines, COUNTER_COUNT).
        last_s: Time of the last observation, s; updated. Shape (engines,).
        out: Receives the observations. Shape (engines, OBSERVATION_SIZE).
    """
    for index in range(first, end):
        engine = one(engines, index)
        registers = engine.registers
        if engine.limits[st.L_PREFIX_CACHING] != 0 and engine.limits[st.L_SCHEDULER] > SARATHI:
            note_cached(engine)  # skipped iterations have not
        observe(
            engine.table,
            engine.running[: registers[st.R_RUNNING]],
            engine.waiting[: registers[st.R_WAITING]],
            view_of(engine),
            engine.step_time,
            engine.memory,
            engine.counters - last_counters[index],
            engine.now_s[0] - last_s[index],
            out[index],
        )
        last_counters[index] = engine.counters
        last_s[index] = engine.now_s[0]
