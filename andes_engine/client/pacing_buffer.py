"""What a pacer holds back: items of a stream in order, each until its reader is ready for it. Knows no clock and no thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from andes_engine.client.chunks import ChunkTokens, split_chunk
from andes_engine.client.reading import Reader, Reading, Start
from andes_engine.errors import AndesError

Item = TypeVar("Item")

AT_ONCE_S = 1e-6
"""A shorter wait is none: clocks and sums of floats are no more exact than this."""


class PacingBuffer(Generic[Item]):
    """First in, first out, at the reader's pace.

    Args:
        reader: What the reader expects.
        sent_s: When the request was sent, on the pacer's clock.
        start: When the first token is shown.
        tokens: How many tokens an item carries; by default those of an OpenAI chunk, and one of anything else.
        split: Makes of an item with several tokens one item for each; with the default `tokens`, OpenAI chunks are split.
            An item that comes back whole is shown when its first token is due, and the next one after the time its tokens take.
    """

    def __init__(
        self,
        reader: Reader,
        sent_s: float,
        start: Start = "expected",
        tokens: Callable[[Item], int] | None = None,
        split: Callable[[Item, int], Sequence[Item]] | None = None,
    ) -> None:
        self.reading = Reading(reader, start)
        self._sent_s = sent_s
        self._tokens: Callable[[Any], int] = tokens or ChunkTokens()
        self._split: Callable[[Any, int], Sequence[Any]] = split or (_whole if tokens else split_chunk)
        self._held: deque[tuple[Item, int]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, item: Item, now_s: float) -> None:
        """An item came from the source."""
        tokens = self._tokens(item)
        if tokens < 0:
            raise AndesError(f"tokens() returned {tokens} for an item; it must return how many it carries, 0 or more")
        self.reading.deliver(tokens, now_s - self._sent_s)
        pieces = self._split(item, tokens) if tokens > 1 else (item,)
        if len(pieces) not in (1, tokens):
            raise AndesError(f"split() made {len(pieces)} items of {tokens} tokens; it must make 1 or {tokens}")
        each = tokens if len(pieces) == 1 else 1
        self._held.extend((piece, each) for piece in pieces)

    def wait_s(self, now_s: float) -> float:
        """How long until the next item may be shown, s; 0 if it may be now. An item without tokens waits only for its turn."""
        if self._held[0][1] == 0:
            return 0.0
        wait_s = self.reading.due_s - (now_s - self._sent_s)
        return wait_s if wait_s > AT_ONCE_S else 0.0

    def take(self, now_s: float) -> Item:
        """The next item, shown now."""
        item, tokens = self._held.popleft()
        if tokens:
            self.reading.consume(tokens, max(now_s - self._sent_s, self.reading.due_s))
        return item


def _whole(item: Item, tokens: int) -> Sequence[Item]:
    return (item,)
