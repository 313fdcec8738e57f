"""Which prompts begin alike: a list of block hashes for each request, as Mooncake's traces give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import InvalidWorkloadError

IntArray = NDArray[np.int64]

HASH_BLOCK_TOKENS = 512
"""Tokens that one hash stands for (Mooncake, FAST '25, section on the released traces)."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixHashes:
    """Prompt contents as ids of blocks. Request i has ``hash_ids[hash_offsets[i]:hash_offsets[i + 1]]``.

    Equal ids mean that the block and everything before it are equal, so the ids that two prompts have in common are
    always their first ones. The last block of a prompt may be partial; it then has an id of its own length.

    Args:
        hash_ids: Ids of all requests, one after the other. Shape (h,), >= 0.
        hash_offsets: Where the ids of each request begin, and the end. Shape (n + 1,), from 0 to h, non-decreasing.
        block_tokens: Tokens of a block, >= 1.

    Raises:
        InvalidWorkloadError: If the offsets do not divide the ids, or an id is negative.
    """

    hash_ids: IntArray
    hash_offsets: IntArray
    block_tokens: int = HASH_BLOCK_TOKENS

    def __post_init__(self) -> None:
        for field in ("hash_ids", "hash_offsets"):
            values = np.array(getattr(self, field))
            if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
                raise InvalidWorkloadError(
                    f"block hashes: {field} has shape {values.shape} and type {values.dtype}; give a flat array of whole numbers"
                )
            values = values.astype(np.int64)
            values.setflags(write=False)
            object.__setattr__(self, field, values)
        self._check()

    def _check(self) -> None:
        offsets = self.hash_offsets
        if self.block_tokens < 1:
            raise InvalidWorkloadError(f"block hashes: block_tokens = {self.block_tokens} must be >= 1")
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(self.hash_ids):
            ends = f"from {offsets[0]} to {offsets[-1]}" if len(offsets) else "empty"
            raise InvalidWorkloadError(
                f"block hashes: hash_offsets is {ends}; it must go from 0 to the number of ids, {len(self.hash_ids)}"
            )
        if (falls := np.diff(offsets) < 0).any():
            row = int(np.argmax(falls))
            raise InvalidWorkloadError(
                f"block hashes: request {row}: hash_offsets falls from {offsets[row]} to {offsets[row + 1]}; "
                "it must not decrease"
            )
        if (negative := self.hash_ids < 0).any():
            place = int(np.argmax(negative))
            row = int(np.searchsorted(offsets, place, side="right")) - 1
            raise InvalidWorkloadError(f"block hashes: request {row}: id {self.hash_ids[place]} must be >= 0")

    def __len__(self) -> int:
        return len(self.hash_offsets) - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixHashes) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    @property
    def counts(self) -> IntArray:
        """Ids of each request. Shape (n,)."""
        return np.diff(self.hash_offsets)

    @property
    def content(self) -> bytes:
        """Everything in it as bytes, for fingerprints."""
        return self.block_tokens.to_bytes(8, "little") + self.hash_offsets.tobytes() + self.hash_ids.tobytes()

    def of(self, row: int) -> IntArray:
        """Ids of request `row`. Shape (blocks,)."""
        return self.hash_ids[self.hash_offsets[row] : self.hash_offsets[row + 1]]

    def select(self, rows: slice | NDArray[np.bool_] | IntArray) -> PrefixHashes:
        """The hashes of some requests, in the order of `rows`: a slice, a mask of shape (n,), or row numbers."""
        chosen = np.arange(len(self))[rows]
        counts = self.counts[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        place = np.repeat(self.hash_offsets[chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return PrefixHashes(self.hash_ids[place], offsets, self.block_tokens)

    def check_prompts(self, prompt_tokens: IntArray, name: str) -> None:
        """Refuse hashes that do not cover the prompts of workload `name`: all blocks of a prompt, or none."""
        if len(self) != len(prompt_tokens):
            raise InvalidWorkloadError(
                f"workload '{name}': block_hashes are of {len(self)} requests, the workload has {len(prompt_tokens)}"
            )
        blocks = -(-prompt_tokens // self.block_tokens)
        wrong = (self.counts != blocks) & (self.counts != 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidWorkloadError(
                f"workload '{name}': request {row}: {self.counts[row]} block hashes for {prompt_tokens[row]} prompt tokens; "
                f"give {blocks[row]} (one for each {self.block_tokens} tokens), or none"
            )


def growing_prompts(
    prompt_tokens: IntArray, opens: NDArray[np.bool_], block_tokens: int = HASH_BLOCK_TOKENS
) -> PrefixHashes:
    """Hashes of conversations in which every prompt begins with all that the one before it says.

    Full blocks keep their id from prompt to prompt, a partial last block is of one prompt only.

    Args:
        prompt_tokens: Prompt lengths, conversation after conversation, growing within each. Shape (n,).
        opens: Where a conversation begins; the first is one. Shape (n,).
        block_tokens: Tokens of a block.
    """
    chain = np.cumsum(opens) - 1
    full, blocks = prompt_tokens // block_tokens, -(-prompt_tokens // block_tokens)
    longest = full[np.append(np.flatnonzero(opens)[1:], len(full)) - 1]
    first_id = np.cumsum(longest) - longest
    offsets = np.concatenate([[0], np.cumsum(blocks)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], blocks)
    partial = place == np.repeat(full, blocks)
    alone = longest.sum() + np.repeat(np.arange(len(full)), blocks)
    ids = np.where(partial, alone, np.repeat(first_id[chain], blocks) + place)
    return PrefixHashes(ids, offsets, block_tokens)
