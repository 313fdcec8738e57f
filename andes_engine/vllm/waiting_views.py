"""The waiting requests by column, as `running_views` has those that run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

from andes_engine.vllm.contract import WaitingView


class WaitingViews(Sequence[WaitingView]):
    """As a list of `WaitingView`, of which each is made when somebody looks at it; before the queue changes.

    Args:
        request_ids: In the engine's order.
        out: Those that may not be admitted.
        cached_tokens: Tells what the prefix cache holds of each; None where an engine has none.
        host_tokens: What host memory holds of each, likewise.
        number: Of these views; 0: they stand alone.
        changes: What has changed of `cached_tokens` since those of the number before; None: anything.
    """

    def __init__(
        self,
        request_ids: list[str],
        out: Collection[str] = (),
        cached_tokens: Callable[[], Sequence[int]] | None = None,
        host_tokens: Sequence[int] | None = None,
        number: int = 0,
        changes: Mapping[str, int] | None = None,
    ) -> None:
        self.request_ids, self.out, self.host_tokens = request_ids, out, host_tokens
        self.number, self.changes = number, changes
        self._cached_tokens = cached_tokens

    @classmethod
    def of(cls, views: Sequence[WaitingView]) -> WaitingViews:
        """The same by column."""
        if isinstance(views, cls):
            return views
        out = [view.request_id for view in views if not view.admissible]
        cached, host = ([view[field] for view in views] for field in (2, 3))
        return cls([view.request_id for view in views], out, lambda: cached, host)  # type: ignore[arg-type, return-value]

    @cached_property
    def cached_tokens(self) -> Sequence[int] | None:
        """What the prefix cache holds of each; None where an engine has none."""
        return None if self._cached_tokens is None else self._cached_tokens()

    def __len__(self) -> int:
        return len(self.request_ids)

    def __getitem__(self, place: int) -> WaitingView:  # type: ignore[override]
        name = self.request_ids[place]
        cached, host = (0 if column is None else column[place] for column in (self.cached_tokens, self.host_tokens))
        return WaitingView(name, name not in self.out, cached, host)
