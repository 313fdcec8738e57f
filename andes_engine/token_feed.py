"""The tokens of a live engine's iteration on their way into the request table."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import AndesError
from andes_engine.live_steps import KIND, NAME_AT, OTHER_KIND, TOKENS, TOKENS_AT, take_tokens
from andes_engine.object_fields import field_offsets
from andes_engine.request_table import RequestTable
from andes_engine.vllm.tokens_out import Tokens, TokensOut

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FIELDS = "request_id", "new_token_ids"


class TokenFeed:
    """One native call per iteration, which reads the objects that it is given.

    Args:
        table: Live requests.
        fair: Whether users are charged (`vtc`).
        counters: Counts the tokens.
    """

    def __init__(self, table: RequestTable, fair: bool, counters: IntArray) -> None:
        self._table, self._fair, self._counters = table, int(fair), counters
        self._known = table.names
        self._kind: type | None = None
        self._has_copied = False
        self._given, self._now_s = np.zeros(4, dtype=np.int64), np.zeros(1)
        self._arguments = take_tokens.arguments(*self._arguments_now(np.zeros(1)))

    def take(self, tokens: Mapping[str, int], now_s: float, user_service: FloatArray) -> int:
        """Account the tokens of an iteration; returns how many there were.

        Args:
            tokens: How many each request got.
            now_s: When, s.
            user_service: Counters of the users. Shape (users,).

        Raises:
            KeyError: If one of them is not known.
            AndesError: If one is there twice, or this Python's objects cannot be read.
        """
        outputs = TokensOut.of(tokens).outputs
        if not outputs:
            return 0
        self._now_s[0] = now_s
        if not self._can_read(type(outputs[0])) or not self._run(outputs, user_service):
            return self.take(self._copied(tokens, outputs), now_s, user_service)
        if self._known.missing:
            names = [one.request_id for one in outputs]
            self._known.learn(names, names)
            self._run(outputs, user_service)
            self._known.check()
        return int(self._given[TOKENS])

    def _can_read(self, kind: type) -> bool:
        """Whether objects of this class can be read in place; they are from now on."""
        if kind is self._kind:
            return True
        offsets = field_offsets(kind, _FIELDS)
        if offsets is None:
            return False
        self._given[NAME_AT], self._given[TOKENS_AT] = offsets
        self._given[KIND], self._kind = id(kind), kind
        return True

    def _copied(self, tokens: Mapping[str, int], outputs: list[Any]) -> TokensOut:
        kinds = {type(one) for one in outputs}
        if kinds == {Tokens}:
            raise AndesError("this Python keeps the fields of an object elsewhere; CPython with its lock is needed")
        if not self._has_copied:
            self._has_copied = True
            named = sorted(kind.__qualname__ for kind in kinds)
            logger.warning("andes: outputs of %s cannot be read in place but are copied, slower (logged once)", named)
        return TokensOut.copied(tokens)

    def _run(self, outputs: list[Any], user_service: FloatArray) -> bool:
        """Whether all are of one class; otherwise nothing is done."""
        self._known.show(outputs)
        self._arguments.put_all(self._arguments_now(user_service))
        take_tokens.run(self._arguments)
        return bool(self._given[TOKENS] != OTHER_KIND)

    def _arguments_now(self, user_service: FloatArray) -> tuple[Any, ...]:
        """What changes with each iteration is written into arrays that stay."""
        changing = self._known.listed, self._table.rows, self._given, self._now_s
        return (*changing, self._fair, user_service, self._counters)
