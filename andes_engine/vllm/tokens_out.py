"""The tokens of a step by column, as `running_views` has the requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property


class TokensOut(Mapping[str, int]):
    """As a dictionary of request ids and numbers of tokens, which is made when somebody looks something up.

    Args:
        request_ids: Who got tokens, nobody twice.
        token_ids: What came out for each, at least one.
    """

    def __init__(self, request_ids: list[str], token_ids: list[list[int]]) -> None:
        self.request_ids, self.token_ids = request_ids, token_ids

    @classmethod
    def of(cls, tokens: Mapping[str, int]) -> TokensOut:
        """The same by column; which tokens they were does not matter."""
        return tokens if isinstance(tokens, cls) else cls([*tokens], [[0] * count for count in tokens.values()])

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return dict(zip(self.request_ids, map(len, self.token_ids), strict=True))

    def __len__(self) -> int:
        return len(self.request_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.request_ids)

    def __getitem__(self, request_id: str) -> int:
        return self._by_name[request_id]
