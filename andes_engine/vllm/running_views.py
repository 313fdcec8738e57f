"""The running requests by column: a planner that reads columns need not wait for a tuple of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine.vllm.contract import RunningView

IntArray = NDArray[np.int64]


class RunningViews(Sequence[RunningView]):
    """As a list of `RunningView`, of which each is made when somebody looks at it.

    Args:
        request_ids: In the engine's order.
        computed_tokens: Of each. Shape (n,).
        held_blocks: Of each. Shape (n,).
        preemptible: Whether the request at a place may be preempted.
        since: Number of these views, and where each request was in those of the number before, -1 where it was not. Shape (n,).
            None: they stand alone.
    """

    __slots__ = ("_preemptible", "computed_tokens", "held_blocks", "request_ids", "since")

    def __init__(
        self,
        request_ids: Sequence[str],
        computed_tokens: IntArray,
        held_blocks: IntArray,
        preemptible: Callable[[int], bool],
        since: tuple[int, IntArray] | None = None,
    ) -> None:
        self.request_ids, self.computed_tokens, self.held_blocks = request_ids, computed_tokens, held_blocks
        self._preemptible = preemptible
        self.since = since

    @classmethod
    def of(cls, views: Sequence[RunningView]) -> RunningViews:
        """The same by column."""
        if isinstance(views, cls):
            return views
        ids = [view.request_id for view in views]
        computed = np.array([view.computed_tokens for view in views], dtype=np.int64)
        held = np.array([view.held_blocks for view in views], dtype=np.int64)
        return cls(ids, computed, held, lambda place: views[place].preemptible)

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
