"""What the decision remembers from one call to the next, apart from the requests themselves."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.lengths import HAZARD, UNKNOWN, expected_remaining, hazard_state
from andes_engine.request import Requests

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEXT_PLAN_S, GATE_SHUT, NEXT_ABORT_S, ITERATION, NOBODY_PAUSED, LET_IN_S = range(6)
"""Fields of `rhythm`: when to plan next, whether the gate is shut, when the next reader may leave (simulator only), how many
iterations were decided on (`authors_code` only), whether the last plan left nobody paused (0: perhaps not), and when a plan
last let somebody in."""


class PlanMemory(NamedTuple):
    """Kept for as long as an engine runs; every array may have the engine as a leading axis.

    Attributes:
        rhythm: See the constants above. Shape (6,).
        ranking: How many and which waiting rows the last plan ranked, best first; most of that order still holds at the next,
            which makes sorting cheap and changes nothing else. Shape (1 + rows,).
        places: Scratch of the ranking, at least one per row. Shape (rows,).
        user_service: Weighted tokens served per user, for fairness. Shape (users,).
        length_kind: Number of the length source. Shape (1,).
        hazard: What it has learned, see `andes_engine.lengths`.
    """

    rhythm: FloatArray
    ranking: IntArray
    places: IntArray
    user_service: FloatArray
    length_kind: IntArray
    hazard: FloatArray


def empty_memory(rows: int, users: int = 1, engines: tuple[int, ...] = ()) -> PlanMemory:
    """Nothing remembered yet, for up to `rows` requests; `engines` is the leading shape."""
    hazard = np.zeros((*engines, _unlearned().size))
    hazard[...] = _unlearned()
    return PlanMemory(
        np.zeros((*engines, 6)),
        np.zeros((*engines, 1 + rows), dtype=np.int64),
        np.zeros((*engines, rows), dtype=np.int64),
        np.zeros((*engines, users)),
        np.zeros((*engines, 1), dtype=np.int64),
        hazard,
    )


def widened(memory: PlanMemory, rows: int) -> PlanMemory:
    """The same memory with room for more requests."""
    ranking = np.zeros(1 + rows, dtype=np.int64)
    ranking[: len(memory.ranking)] = memory.ranking
    return memory._replace(ranking=ranking, places=np.zeros(rows, dtype=np.int64))


def forget(memory: PlanMemory) -> None:
    """Back to `empty_memory`, in place."""
    for values in (memory.rhythm, memory.ranking, memory.user_service, memory.length_kind):
        values[...] = 0
    memory.hazard[...] = _unlearned()


@cache
def _unlearned() -> FloatArray:
    return hazard_state()


@compiled
def expect(table: Requests, rows: IntArray, memory: PlanMemory) -> None:
    """Leave in the table what the length source expects of these requests now; nothing without a source.

    Args:
        table: Live requests.
        rows: Whose. Shape (n,).
        memory: Which source, and what it has learned.
    """
    kind = memory.length_kind[0]
    if kind == UNKNOWN:
        return
    for row in rows:
        prompt, emitted = table.prompt_tokens[row], table.emitted_tokens[row]
        # a hint has a cache line of its own, which this source would not read
        hint = np.nan if kind == HAZARD else table.length_hint_tokens[row]
        table.remaining_tokens[row] = expected_remaining(kind, memory.hazard, hint, prompt, emitted)
