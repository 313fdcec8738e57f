"""A round: something done for each engine of a simulator once, by threads that take engines until none is left.

One native call per thread and round, and no lock: a thread takes the next engine by adding to a cell. It begins with a share
of its own, as what it touched in the last round may still be in its core's cache, and goes on with the shares of others. All
that a round needs is in memory before it opens, so it does not matter when a thread comes: late for one round, it helps with
the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.native import add_to, native, swap_in
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.sim.observing import observe_engine
from andes_engine.sim.potential import Unsettled, add_up, no_requests
from andes_engine.sim.state import Engines, example_engines, one
from andes_engine.sim.step import Scratch, advance, scratch_for

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ADVANCE, ADD_UP, OBSERVE = 1, 2, 4
"""What is done for an engine, in this order: run it, write its potential, write what a policy sees of it."""

_PATIENCE = 20_000
"""Looks at whether the others are done, in some 100 us, before falling asleep: it takes as long to wake up again."""


class Surroundings(NamedTuple):
    """What rounds need besides the engines; one element or row per engine of the simulator.

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


def surroundings_of(engines: Engines) -> Surroundings:
    """Of engines that have not been looked at."""
    count, rows = engines.waiting.shape
    return Surroundings(
        until_s=np.zeros(count),
        observed_counters=np.zeros_like(engines.counters),
        observed_s=np.zeros(count),
        observations=np.zeros((count, OBSERVATION_SIZE), dtype=np.float32),
        unsettled=no_requests(count, rows),
        potentials=np.zeros(count),
    )


class Shares(NamedTuple):
    """Who begins where.

    Attributes:
        bounds: First engine of each share, where it also ends the one before; then where the last one ends. Shape (shares + 1,).
        next: The next engine of each share that nobody has taken; beyond its end, none is left. Shape (shares,).
        done: How many engines are done with. Shape (1,).
        work: What the round does, a sum of `ADVANCE`, `ADD_UP` and `OBSERVE`. Shape (1,).
    """

    bounds: IntArray
    next: IntArray
    done: IntArray
    work: IntArray


def equal_shares(first: int, end: int, count: int) -> Shares:
    """Neighbours together; no round is open."""
    bounds = np.linspace(first, end, count + 1).astype(np.int64)
    return Shares(bounds, bounds[1:].copy(), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


@native(lambda: (equal_shares(0, 1, 1),))
@compiled
def open_round(shares: Shares) -> None:
    """Let threads take engines, for what `shares.work` says. The last round must be over: all its engines done with."""
    swap_in(shares.done, 0, 0)
    for share in range(len(shares.next)):
        swap_in(shares.next, share, shares.bounds[share])


def _example() -> tuple[object, ...]:
    (engines,) = example_engines()
    scratch = scratch_for(engines, np.zeros(1, dtype=np.int64), False)
    return engines, surroundings_of(engines), equal_shares(0, 1, 1), 0, scratch


@native(_example)
@compiled_allocating
def take_part(engines: Engines, around: Surroundings, shares: Shares, mine: int, scratch: Scratch) -> None:
    """Take engines until none is left; the thread of share 0, which opened the round, then waits a little for the others.

    Args:
        engines: All engines.
        around: What else is needed.
        shares: Who begins where.
        mine: Share to begin with.
        scratch: This thread's own.
    """
    count = len(shares.next)
    for turn in range(count):
        share = mine + turn if mine + turn < count else mine + turn - count
        while True:
            index = add_to(shares.next, share, 1)
            if index >= shares.bounds[share + 1]:
                break
            _work_on(one(engines, index), around, shares.work[0], index, scratch)
            add_to(shares.done, 0, 1)
    if mine == 0:
        all_engines, looks = shares.bounds[count] - shares.bounds[0], 0
        while looks < _PATIENCE and add_to(shares.done, 0, 0) < all_engines:
            looks += 1


@compiled
def _work_on(engine: Engines, around: Surroundings, work: int, index: int, scratch: Scratch) -> None:
    if work & ADVANCE:
        advance(engine, around.until_s[index], scratch)
    if work & ADD_UP:
        around.potentials[index] = add_up(engine, around.unsettled, index)
    if work & OBSERVE:
        last = around.observed_counters[index], around.observed_s[index : index + 1]
        observe_engine(engine, *last, around.observations[index])
