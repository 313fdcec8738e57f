"""What vLLM's prefix cache still holds of each waiting request: the price of resuming it."""

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from andes_engine.vllm import adapter


class Found(NamedTuple):
    """What holds for as long as the cache has `last` and not `after`, keys of two blocks of a request in a row.

    Attributes:
        cached_tokens: Tokens up to the end of `last`.
        last: The last block the cache holds; None: not even the first.
        after: The block after it; None: there is none that could be found.
        num_tokens: Of the request; with more of them there may be one.
    """

    cached_tokens: int
    last: bytes | None
    after: bytes | None
    num_tokens: int


_NOTHING = Found(0, b"", None, 0)
"""Holds nowhere: an empty key is in no cache."""


class PrefixProbe:
    """Keeps what it found until the cache changes where that ends: two look-ups per waiting request and step.

    A prefix is evicted after what follows it, so a search starts at the length of last time. Exact for one kind of attention
    layer; resuming looks dearer than it may be where an engine has several.
    """

    def __init__(self) -> None:
        """Nothing known yet."""
        self._found: dict[str, Found] = {}

    def cached_tokens(self, scheduler: Any, request_ids: Sequence[str]) -> list[int] | None:
        """Tokens of waiting requests that need not be computed again; None for an engine that never finds any."""
        if not adapter.caches_prefixes(scheduler):
            return None
        known, held, requests = self._found, adapter.found_blocks(scheduler), scheduler.requests
        answers = [*map(known.get, request_ids, repeat(_NOTHING))]
        for place, (_, last, after, num_tokens) in enumerate(answers):
            if (
                (last is not None and last not in held)
                or after in held
                or (after is None and requests[request_ids[place]].num_tokens != num_tokens)
            ):
                request = requests[request_ids[place]]
                found = _search(scheduler, request, held, answers[place].cached_tokens)
                answers[place] = known[request.request_id] = found
        return [found.cached_tokens for found in answers]

    def forget(self, request_id: str) -> None:
        """The request runs, or is gone."""
        self._found.pop(request_id, None)


def _search(scheduler: Any, request: Any, held: Mapping[bytes, Any], known_tokens: int) -> Found:
    size, hashes = scheduler.block_size, adapter.reusable_hashes(scheduler, request)
    count = min(known_tokens // size, len(hashes))
    while count > 0 and adapter.block_key(hashes[count - 1]) not in held:
        count -= 1
    while count < len(hashes) and adapter.block_key(hashes[count]) in held:
        count += 1
    last = adapter.block_key(hashes[count - 1]) if count > 0 else None
    after = adapter.block_key(hashes[count]) if count < len(hashes) else None
    return Found(count * size, last, after, request.num_tokens)
