"""The tokens of a step as the engine has them, as `running_views` has the requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any


class Tokens:
    """What came out for a request: the fields of vLLM's `EngineCoreOutput` that count."""

    __slots__ = ("new_token_ids", "request_id")

    def __init__(self, request_id: str, new_token_ids: list[int]) -> None:
        self.request_id, self.new_token_ids = request_id, new_token_ids


class TokensOut(Mapping[str, int]):
    """As a dictionary of request ids and numbers of tokens, which is made when somebody looks something up.

    Args:
        outputs: With the fields of `Tokens`, nobody twice; those without a token are not in the dictionary.
    """

    def __init__(self, outputs: list[Any]) -> None:
        self.outputs = outputs

    @classmethod
    def of(cls, tokens: Mapping[str, int]) -> TokensOut:
        """The same by column; which tokens they were does not matter."""
        return tokens if isinstance(tokens, cls) else cls.copied(tokens)

    @classmethod
    def copied(cls, tokens: Mapping[str, int]) -> TokensOut:
        """The same in objects of our own."""
        return cls([Tokens(name, [0] * count) for name, count in tokens.items()])

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return {output.request_id: len(output.new_token_ids) for output in self.outputs if output.new_token_ids}

    def __bool__(self) -> bool:
        return any(output.new_token_ids for output in self.outputs)

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __getitem__(self, request_id: str) -> int:
        return self._by_name[request_id]
