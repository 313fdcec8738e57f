"""The waiting requests by column, as `running_views` has those that run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from andes_engine.vllm.contract import WaitingView


class WaitingViews(Sequence[WaitingView]):
    """As a list of `WaitingView`, of which each is made when somebody looks at it.

    Args:
        request_ids: In the engine's order.
        out: Those that may not be admitted.
        cached_tokens: What the prefix cache holds of each; None where an engine has none.
        host_tokens: What host memory holds of each, likewise.
    """

    __slots__ = ("_out", "cached_tokens", "host_tokens", "request_ids")

    def __init__(
        self,
        request_ids: list[str],
        out: Collection[str] = (),
        cached_tokens: list[int] | None = None,
        host_tokens: list[int] | None = None,
    ) -> None:
        self.request_ids, self.cached_tokens, self.host_tokens = request_ids, cached_tokens, host_tokens
        self._out = out

    @classmethod
    def of(cls, views: Sequence[WaitingView]) -> WaitingViews:
        """The same by column."""
        if isinstance(views, cls):
            return views
        ids, cached, host = ([view[field] for view in views] for field in (0, 2, 3))
        return cls(ids, [view.request_id for view in views if not view.admissible], cached, host)  # type: ignore[arg-type]

    def admissible(self) -> WaitingViews:
        """Those that may be admitted."""
        if not self._out:
            return self
        places = [place for place, name in enumerate(self.request_ids) if name not in self._out]
        ids, cached, host = (
            None if column is None else [column[place] for place in places]
            for column in (self.request_ids, self.cached_tokens, self.host_tokens)
        )
        return WaitingViews(ids, (), cached, host)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.request_ids)

    def __getitem__(self, place: int) -> WaitingView:  # type: ignore[override]
        name = self.request_ids[place]
        cached, host = (0 if column is None else column[place] for column in (self.cached_tokens, self.host_tokens))
        return WaitingView(name, name not in self._out, cached, host)
