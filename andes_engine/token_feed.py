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
    """One native call per iteration.

    From one iteration to the next mostly the same requests get a token each, so who got how many stays where the call reads it,
    and only what has changed is written.

    Args:
        table: Live requests.
        fair: Whether users are charged (`vtc`).
        counters: Counts the tokens.
    """

    def __init__(self, table: RequestTable, fair: bool, counters: IntArray) -> None:
        self._table, self._fair, self._counters = table, int(fair), counters
        self._ids: list[str] = []
        self._given: list[int] = []
        self._total = 0
        self._count, self._now_s = np.zeros(1, dtype=np.int64), np.zeros(1)
        self._make_room(256)
        self._arguments = take_tokens.arguments(*self._given_to(np.zeros(1)))

    def take(self, tokens: Mapping[str, int], now_s: float, user_service: FloatArray) -> int:
        """Account the tokens of an iteration; returns how many there were.

        Args:
            tokens: How many each request got.
            now_s: When, s.
            user_service: Counters of the users. Shape (users,).
        """
        by_column = TokensOut.of(tokens)
        ids, given = by_column.request_ids, by_column.counts
        if len(ids) > len(self._rows):
            self._make_room(2 * len(ids))
        if ids != self._ids:
            self._rows[: len(ids)] = self._table.rows_of(ids)
            self._ids = ids
        if given != self._given:
            if given.count(1) == len(given):  # nearly always
                self._tokens[: len(given)] = 1
            else:
                self._tokens[: len(given)] = given
            self._given, self._total = given, sum(given)
        self._count[0], self._now_s[0] = len(ids), now_s
        self._arguments.put_all(self._given_to(user_service))
        take_tokens.run(self._arguments)
        return self._total

    def _given_to(self, user_service: FloatArray) -> tuple[Any, ...]:
        """Arguments of the call: what changes with each iteration is written into arrays that stay."""
        changing = self._table.rows, self._rows, self._tokens, self._count, self._now_s
        return (*changing, self._fair, user_service, self._counters)

    def rows_changed(self) -> None:
        """A request has left the table, and its row may go to another of the same name."""
        self._ids = []

    def _make_room(self, requests: int) -> None:
        self._rows, self._tokens = np.zeros(requests, dtype=np.int64), np.zeros(requests, dtype=np.int64)
        self._ids, self._given = [], []
