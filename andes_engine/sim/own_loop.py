"""A simulated engine under a user's own scheduler: one iteration at a time, with the user's function asked before each."""

from __future__ import annotations

import numpy as np

from andes_engine.decision_buffers import empty_decision
from andes_engine.schedulers.own import load_score, score_live
from andes_engine.sim import state as st
from andes_engine.sim.decoders import no_decoders
from andes_engine.sim.lifecycle import ready
from andes_engine.sim.load import LOAD_SIZE
from andes_engine.sim.state import Engines
from andes_engine.sim.step import advance


class OwnLoop:
    """Runs one engine.

    Args:
        engine: Arrays of one engine.
        name: Dotted name of the score function.

    Raises:
        SchedulerError: If there is no such function.
    """

    def __init__(self, engine: Engines, name: str) -> None:
        self._engine = engine
        self._name = name
        self._score = load_score(name)
        self._plan = empty_decision.py_func(engine.running.shape[0], engine.waiting.shape[0])
        self._scheduled = np.zeros(engine.running.shape[0], dtype=np.int64)
        self._load = np.zeros(LOAD_SIZE, dtype=np.int64)
        self._nobody = no_decoders.py_func(engine.running.shape[0], 0)

    def advance(self, until_s: float) -> None:
        """Run until `until_s` or until drained; a failing function stops the run with its reason."""
        engine, registers = self._engine, self._engine.registers
        while ready(engine, until_s):
            running = engine.running[: registers[st.R_RUNNING]]
            rows = np.concatenate([running, engine.waiting[: registers[st.R_WAITING]]])
            score_live(self._score, self._name, engine.table, rows, float(engine.now_s[0]))
            just_after_s = float(np.nextafter(engine.now_s[0], np.inf))  # one iteration
            advance(engine, just_after_s, self._plan, self._scheduled, self._load, self._nobody)
