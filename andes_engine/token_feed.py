"""The tokens of a live engine's iteration on their way into the request table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.live_steps import take_tokens
from andes_engine.request_table import RequestTable
from andes_engine.vllm.tokens_out import TokensOut

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class TokenFeed:
    """One native call per iteration, which reads the lists that it is given.

    Args:
        table: Live requests.
        fair: Whether users are charged (`vtc`).
        counters: Counts the tokens.
    """

    def __init__(self, table: RequestTable, fair: bool, counters: IntArray) -> None:
        self._table, self._fair, self._counters = table, int(fair), counters
        self._known = table.names
        self._given, self._now_s = np.zeros(2, dtype=np.int64), np.zeros(1)
        self._arguments = take_tokens.arguments(*self._arguments_now(np.zeros(1)))

    def take(self, tokens: Mapping[str, int], now_s: float, user_service: FloatArray) -> int:
        """Account the tokens of an iteration; returns how many there were.

        Args:
            tokens: How many each request got.
            now_s: When, s.
            user_service: Counters of the users. Shape (users,).
        """
        by_column = TokensOut.of(tokens)
        self._known.show(by_column.request_ids)
        self._given[0], self._now_s[0] = id(by_column.token_ids), now_s
        self._arguments.put_all(self._arguments_now(user_service))
        take_tokens.run(self._arguments)
        if self._known.missing:
            self._known.learn(by_column.request_ids)
            take_tokens.run(self._arguments)
            self._known.check()
        return int(self._given[1])

    def _arguments_now(self, user_service: FloatArray) -> tuple[Any, ...]:
        """What changes with each iteration is written into arrays that stay."""
        changing = self._known.listed, self._table.rows, self._given, self._now_s
        return (*changing, self._fair, user_service, self._counters)
