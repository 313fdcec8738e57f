"""Which blocks of host memory hold the KV cache of which preempted request, and what is to be copied in the coming step.

Kept by the scheduler; the workers only copy what they are told to. Blocks that are copied back are given to somebody else in a
later step at the earliest, so copying out first and back afterwards is right within a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Copies(NamedTuple):
    """What to copy before a step, as pairs of a block of the engine and a block of host memory: all of `out`, then `back`."""

    out: tuple[tuple[int, int], ...] = ()
    back: tuple[tuple[int, int], ...] = ()


class HostMemory:
    """A bounded number of host blocks.

    Args:
        blocks: How many there are.
        block_size_tokens: Tokens per block.
    """

    def __init__(self, blocks: int, block_size_tokens: int) -> None:
        self.blocks = blocks
        self.copied_blocks = 0
        """Blocks that were copied, out or back, so far."""
        self._block_size_tokens = block_size_tokens
        self._free = list(range(blocks))
        self._kept: dict[str, list[int]] = {}
        self._out: dict[str, list[tuple[int, int]]] = {}
        self._back: list[tuple[int, int]] = []
        self._leaving: list[int] = []

    @property
    def free_blocks(self) -> int:
        """Blocks that can be filled in the coming step."""
        return len(self._free)

    @property
    def used_blocks(self) -> int:
        """Blocks that hold, or in this step still give back, something."""
        return self.blocks - len(self._free)

    def keep(self, request_id: str, engine_blocks: Sequence[int]) -> bool:
        """Copy a request's first blocks out in the coming step, all or none; whether there is room."""
        self.forget(request_id)
        if len(engine_blocks) > len(self._free):
            return False
        if engine_blocks:
            self._kept[request_id] = [self._free.pop() for _ in engine_blocks]
            self._out[request_id] = list(zip(engine_blocks, self._kept[request_id], strict=True))
        return True

    def tokens(self, request_id: str) -> int:
        """Tokens of a request whose KV is kept, counted from its beginning."""
        return len(self._kept.get(request_id, ())) * self._block_size_tokens

    def take_back(self, request_id: str, engine_blocks: Sequence[int], tokens: int) -> None:
        """Copy the last `tokens` of what is kept of a resumed request back in the coming step, and give up its room.

        Args:
            request_id: Who resumes.
            engine_blocks: Its blocks in the engine, from its beginning.
            tokens: Whole blocks; the engine's prefix cache has what is before them.
        """
        kept = self._kept.pop(request_id, [])
        first = len(kept) - tokens // self._block_size_tokens
        self._back += zip(engine_blocks[first : len(kept)], kept[first:], strict=True)
        self._leaving += kept

    def forget(self, request_id: str) -> None:
        """Give up the room of a request that will not resume, or need not be copied back."""
        self._out.pop(request_id, None)
        self._free += self._kept.pop(request_id, [])

    def clear(self) -> None:
        """Forget everyone: what is kept is worth nothing any more."""
        for request_id in list(self._kept):
            self.forget(request_id)

    def take_copies(self) -> Copies:
        """The copies of the step that was just planned; what they leave is free from the next step on."""
        copies = Copies(tuple(pair for pairs in self._out.values() for pair in pairs), tuple(self._back))
        self._free += self._leaving
        self._out, self._back, self._leaving = {}, [], []
        self.copied_blocks += len(copies.out) + len(copies.back)
        return copies
