"""A simulated engine one iteration at a time, with a user's own score function asked before each."""

from __future__ import annotations

import numpy as np

from andes_engine.schedulers.own import load_score, score_live
from andes_engine.sim import state as st
from andes_engine.sim.crew import Crew
from andes_engine.sim.lifecycle import note_ready
from andes_engine.sim.round import ADVANCE, surroundings_of
from andes_engine.sim.state import Engines, part_of

_UNTIL = 1
"""Place of `until_s` among the arguments of `note_ready`."""


class StepLoop:
    """Runs one engine.

    Args:
        engines: Arrays of one engine, with the leading axis.
        score: Dotted name of a user's score function; None if the engine's scheduler needs none.

    Raises:
        SchedulerError: If there is no such function.
    """

    def __init__(self, engines: Engines, score: str | None) -> None:
        self._engine = part_of(engines, 0)
        self._name = score or ""
        self._score = load_score(score) if score else None
        self._answer, self._around = np.zeros(1, dtype=np.int64), surroundings_of(engines)
        self._crew = Crew(engines, self._around, every_step=True)
        self._ready = note_ready.arguments(self._engine, 0.0, self._answer)

    def advance(self, until_s: float) -> None:
        """Run until `until_s` or until drained; a failing function stops the run with its reason."""
        while self.ready(until_s):
            self.step()

    def ready(self, until_s: float) -> bool:
        """Let time pass up to the next iteration; whether it begins before `until_s`."""
        self._ready.put(_UNTIL, float(until_s))
        note_ready.run(self._ready)
        return bool(self._answer[0])

    def step(self) -> None:
        """Run the iteration that begins now."""
        engine, registers = self._engine, self._engine.registers
        now_s = float(engine.now_s[0])
        if self._score is not None:
            live = engine.running[: registers[st.R_RUNNING]], engine.waiting[: registers[st.R_WAITING]]
            score_live(self._score, self._name, engine.table, np.concatenate(live), now_s)
        self._around.until_s[0] = np.nextafter(now_s, np.inf)
        self._crew.run(ADVANCE)
