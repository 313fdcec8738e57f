"""KV blocks of the reference engine, as vLLM 0.32.0 keeps them (`v1/core/block_pool.py`), in plain Python.

Nothing here is shared with `block_pool`, the compiled pool that it checks.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

Content = tuple[str, int, int]
"""What a full block holds: ("prompt", hash id, tokens into what the id stands for), or ("own", row, place in its sequence)."""


@dataclass(slots=True, eq=False)
class Block:
    """A block of KV memory: how many requests hold it, and what it can be found by."""

    users: int = 0
    content: Content | None = None


class ReferencePool:
    """Free blocks in the order they will be reused, and findable ones by content, oldest first where several hold the same."""

    def __init__(self, kv_blocks: int) -> None:
        self.free: OrderedDict[Block, None] = OrderedDict((Block(), None) for _ in range(kv_blocks))
        self.findable: dict[Content, list[Block]] = {}

    def take(self, count: int) -> list[Block]:
        """Blocks that were free longest; what they held is lost (`get_new_blocks`)."""
        return [self._take_one() for _ in range(count)]

    def _take_one(self) -> Block:
        block, _ = self.free.popitem(last=False)
        if block.content is not None:
            copies = self.findable[block.content]
            copies.remove(block)
            if not copies:
                del self.findable[block.content]
            block.content = None
        block.users = 1
        return block

    def use_again(self, blocks: list[Block]) -> None:
        """One more request holds each of these (`touch`)."""
        for block in blocks:
            if block.users == 0:
                del self.free[block]
            block.users += 1

    def give(self, blocks: list[Block]) -> None:
        """A request lets go of all its blocks, last first (`free_blocks`).

        What nobody can find is reused first, so it goes to the head of the free list; the rest goes to its tail.
        """
        released = []
        for block in reversed(blocks):
            block.users -= 1
            if block.users == 0:
                released.append(block)
        unfindable = [block for block in released if block.content is None]
        for block in reversed(unfindable):
            self.free[block] = None
            self.free.move_to_end(block, last=False)
        for block in released:
            if block.content is not None:
                self.free[block] = None

    def find(self, content: Content) -> Block | None:
        """The oldest block that holds this (`get_cached_block`)."""
        copies = self.findable.get(content)
        return copies[0] if copies else None

    def make_findable(self, block: Block, content: Content) -> None:
        """A block is full (`cache_full_blocks`)."""
        block.content = content
        self.findable.setdefault(content, []).append(block)

    def contents(self) -> tuple[list[Content | None], Counter[Content]]:
        """What the free blocks hold, in order, and how many blocks hold what: all that later allocations depend on."""
        return [block.content for block in self.free], Counter({key: len(held) for key, held in self.findable.items()})
