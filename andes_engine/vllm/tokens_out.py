"""The tokens of a step by column, as `running_views` has the requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property


class TokensOut(Mapping[str, int]):
    """As a dictionary of request ids and numbers of tokens, which is made when somebody looks something up.

    Args:
        request_ids: Who got tokens, nobody twice.
        counts: How many each got, at least one.
    """

    def __init__(self, request_ids: list[str], counts: list[int]) -> None:
        self.request_ids, self.counts = request_ids, counts

    @classmethod
    def of(cls, tokens: Mapping[str, int]) -> TokensOut:
        """The same by column."""
        return tokens if isinstance(tokens, cls) else cls([*tokens], [*tokens.values()])

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return dict(zip(self.request_ids, self.counts, strict=True))

    def __len__(self) -> int:
        return len(self.request_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.request_ids)

    def __getitem__(self, request_id: str) -> int:
        return self._by_name[request_id]
