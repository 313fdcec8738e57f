"""The running requests by column: a planner that reads columns need not wait for a tuple of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.vllm.contract import RunningView

IntArray = NDArray[np.int64]


class Since(NamedTuple):
    """What has changed since the views of the number before.

    Attributes:
        asked: Object, id and computed tokens of those of which it does not follow; the others were in those views, and have
            computed one token more.
        block_tokens: Each holds the blocks of this size that its computed tokens fill.
    """

    asked: list[tuple[Any, str, int]]
    block_tokens: int


class RunningViews(Sequence[RunningView]):
    """As a list of `RunningView`, of which each is made when somebody looks at it.

    Args:
        objects: The engine's own, in its order; the same one for a request from its arrival to its end.
        request_ids: Of them.
        read: Asks for computed tokens and held blocks of each. Shape (n,) each.
        preemptible: Whether the request at a place may be preempted.
        number: Of these views; 0: they stand alone.
        since: What has changed since those of the number before; None: anything.
    """

    def __init__(
        self,
        objects: list[Any],
        request_ids: Sequence[str],
        read: Callable[[], tuple[IntArray, IntArray]],
        preemptible: Callable[[int], bool],
        number: int = 0,
        since: Since | None = None,
    ) -> None:
        self.objects, self.request_ids = objects, request_ids
        self._ask, self._preemptible = read, preemptible
        self.number, self.since = number, since

    @classmethod
    def of(cls, views: Sequence[RunningView]) -> RunningViews:
        """The same by column."""
        if isinstance(views, cls):
            return views
        ids = [view.request_id for view in views]
        computed = np.array([view.computed_tokens for view in views], dtype=np.int64)
        held = np.array([view.held_blocks for view in views], dtype=np.int64)
        return cls(ids, ids, lambda: (computed, held), lambda place: views[place].preemptible)

    @cached_property
    def _read(self) -> tuple[IntArray, IntArray]:
        return self._ask()

    @property
    def computed_tokens(self) -> IntArray:
        """Of each. Shape (n,)."""
        return self._read[0]

    @property
    def held_blocks(self) -> IntArray:
        """Of each. Shape (n,)."""
        return self._read[1]

    def __len__(self) -> int:
        return len(self.request_ids)

    def __getitem__(self, place: int) -> RunningView:  # type: ignore[override]
        return RunningView(
            self.request_ids[place],
            int(self.computed_tokens[place]),
            int(self.held_blocks[place]),
            self._preemptible(place),
        )


class RunOrder(Sequence[str]):
    """An order of the running requests as places in the list that was shown, which is faster to follow than names.

    Args:
        request_ids: The requests as they were shown.
        places: Places in that list, first to run first. Shape (n,).
    """

    __slots__ = ("_request_ids", "places")

    def __init__(self, request_ids: Sequence[str], places: IntArray) -> None:
        self._request_ids, self.places = request_ids, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self._request_ids[self.places[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment]
