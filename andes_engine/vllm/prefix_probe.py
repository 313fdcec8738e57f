"""What vLLM's prefix cache still holds of each waiting request: the price of resuming it."""

from collections.abc import Mapping, Sequence
from typing import Any

from andes_engine.vllm import adapter


class PrefixProbe:
    """Keeps what it found until the cache changes where that ends: two look-ups per waiting request and step.

    A prefix is evicted after what follows it, so a search starts at the length of last time. Exact for one kind of attention
    layer; resuming looks dearer than it may be where an engine has several.
    """

    def __init__(self) -> None:
        """Nothing known yet.

        What was found of a request holds for as long as the cache has its `last` block and not the one `after` it. Without
        `last`, the cache has not even its first one; without `after`, there is none that could be found, at its `length`.
        """
        self._tokens: dict[str, int] = {}
        self._last: dict[str, bytes] = {}
        self._after: dict[str, bytes] = {}
        self._length: dict[str, int] = {}

    def __len__(self) -> int:
        """Of how many requests something is known."""
        return len(self._tokens)

    def cached_tokens(self, scheduler: Any, request_ids: Sequence[str]) -> list[int] | None:
        """Tokens of waiting requests that need not be computed again; None for an engine that never finds any."""
        if not adapter.caches_prefixes(scheduler):
            return None
        held = adapter.found_blocks(scheduler)
        known = self._tokens
        unknown = [request_id for request_id in request_ids if request_id not in known]
        for request_id in [*self._changed(held, scheduler.requests), *unknown]:
            self._search(scheduler, request_id, held)
        return [known[request_id] for request_id in request_ids]

    def forget(self, request_id: str) -> None:
        """The request runs, or is gone."""
        for known in (self._tokens, self._last, self._after, self._length):
            known.pop(request_id, None)

    def _changed(self, held: Mapping[bytes, Any], requests: Mapping[str, Any]) -> list[str]:
        """Requests of which what was found no longer holds; a step seldom has many, so none is looked at one by one."""
        evicted = [name for name, key in self._last.items() if key not in held]
        returned = [name for name, key in self._after.items() if key in held]
        grown = [name for name, length in self._length.items() if requests[name].num_tokens != length]
        return [*dict.fromkeys([*evicted, *returned, *grown])]

    def _search(self, scheduler: Any, request_id: str, held: Mapping[bytes, Any]) -> None:
        request, size = scheduler.requests[request_id], scheduler.block_size
        hashes = adapter.reusable_hashes(scheduler, request)
        count = min(self._tokens.get(request_id, 0) // size, len(hashes))
        while count > 0 and adapter.block_key(hashes[count - 1]) not in held:
            count -= 1
        while count < len(hashes) and adapter.block_key(hashes[count]) in held:
            count += 1
        self.forget(request_id)
        self._tokens[request_id] = count * size
        if count > 0:
            self._last[request_id] = adapter.block_key(hashes[count - 1])
        if count < len(hashes):
            self._after[request_id] = adapter.block_key(hashes[count])
        else:
            self._length[request_id] = request.num_tokens
