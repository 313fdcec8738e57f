"""Observations of simulated engines, by the function that also serves live engines (`andes_engine.observation`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.observation import observe
from andes_engine.schedulers import SARATHI
from andes_engine.sim import state as st
from andes_engine.sim.kv_cache import note_cached
from andes_engine.sim.state import Engines, view_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def observe_engine(engine: Engines, last_counters: IntArray, last_s: FloatArray, out: NDArray[np.float32]) -> None:
    """Observe one engine and remember when, for the next call's "since the last decision".

    Args:
        engine: Which.
        last_counters: Counters at the last observation, updated. Shape (COUNTER_COUNT,).
        last_s: Time of the last observation, s; updated. Shape (1,).
        out: Receives the observation. Shape (OBSERVATION_SIZE,).
    """
    registers = engine.registers
    if engine.limits[st.L_PREFIX_CACHING] != 0 and engine.limits[st.L_SCHEDULER] > SARATHI:
        note_cached(engine)  # skipped iterations have not
    recent = last_counters  # in place, as no array can be made here
    for index in range(len(recent)):
        recent[index] = engine.counters[index] - recent[index]
    observe(
        engine.table,
        engine.running[: registers[st.R_RUNNING]],
        engine.waiting[: registers[st.R_WAITING]],
        view_of(engine),
        engine.step_time,
        engine.memory,
        recent,
        engine.now_s[0] - last_s[0],
        out,
    )
    for index in range(len(last_counters)):
        last_counters[index] = engine.counters[index]
    last_s[0] = engine.now_s[0]
