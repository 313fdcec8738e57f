"""Neighbouring engines of a simulator, and the native calls that are made for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.decision import decide
from andes_engine.sim.observing import observe_all
from andes_engine.sim.potential import Unsettled, potentials_of
from andes_engine.sim.state import Engines
from andes_engine.sim.step import advance_all

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FIRST, _END, _OUT = 1, 2, 5
"""Places of the arguments of `observe_all`; the first two also of `potentials_of`."""


class Surroundings(NamedTuple):
    """What the calls need besides the engines; one element or row per engine of the simulator.

    Attributes:
        until_s: Time up to which each engine runs, s.
        observed_counters: Counters at the last observation.
        observed_s: Time of the last observation, s.
        observations: Receives what policies see.
        unsettled: Requests whose best case can still change.
        potentials: Receives the sums of best-case QoE.
    """

    until_s: FloatArray
    observed_counters: IntArray
    observed_s: FloatArray
    observations: NDArray[np.float32]
    unsettled: Unsettled
    potentials: FloatArray


class Part:
    """Engines from `first` to before `end`, which one thread runs one after the other.

    Args:
        engines: All engines.
        first: The first of them.
        end: Where to stop.
        around: What else the calls need.
        every_step: Skip no iteration.
    """

    def __init__(self, engines: Engines, first: int, end: int, around: Surroundings, every_step: bool) -> None:
        bounds = engines, first, end
        self._advance = advance_all.arguments(*bounds, around.until_s, int(every_step), decide.call_words())
        self._observe = observe_all.arguments(*bounds, around.observed_counters, around.observed_s, around.observations)
        self._add_up = potentials_of.arguments(*bounds, around.unsettled, around.potentials)

    def move(self, first: int, end: int) -> None:
        """Observe and add up other engines from now on."""
        for arguments in (self._observe, self._add_up):
            arguments.put(_FIRST, first)
            arguments.put(_END, end)

    def advance(self) -> None:
        """Run to the times in `until_s`."""
        advance_all.run(self._advance)

    def step(self, observations: NDArray[np.float32] | None) -> None:
        """Run, add up, and observe where there is something to write that to."""
        self.advance()
        self.add_up()
        if observations is not None:
            self.observe_into(observations)

    def observe_into(self, out: NDArray[np.float32]) -> None:
        """Write what policies see now. Shape (engines of the simulator, OBSERVATION_SIZE)."""
        self._observe.put(_OUT, out)
        observe_all.run(self._observe)

    def add_up(self) -> None:
        """Write the potentials."""
        potentials_of.run(self._add_up)
