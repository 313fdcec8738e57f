"""What vLLM's prefix cache still holds of each waiting request: the price of resuming it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from andes_engine.vllm import adapter

_NEW_KEYS = 1024
"""So many of the newest keys are looked through for the mark of the last look."""
_MARK_AMONG = 16
"""So many of the newest keys are looked through for a mark."""


class PrefixProbe:
    """Keeps what it found until the cache changes where that ends, and tells what is new.

    A prefix is evicted after what follows it, so a search starts at the length of last time. Exact for one kind of attention
    layer; resuming looks dearer than it may be where an engine has several.
    """

    def __init__(self) -> None:
        """Nothing known yet.

        What was found of a request holds for as long as the cache has its `last` block and not the one `after` it. Without
        `last`, the cache has not even its first one; without `after`, there is none that could be found, at its `length`.
        """
        self._number = 0
        self._tokens: dict[str, int] = {}
        self._last: dict[str, bytes] = {}
        self._after: dict[str, bytes] = {}
        self._lacking: dict[bytes, dict[str, None]] = {}  # `after`, the other way round
        self._length: dict[str, int] = {}
        self._held: dict[bytes, Any] | None = None
        self._mark: bytes | None = None  # a key of the last look, and
        self._mark_block: Any = None  # its block

    def __len__(self) -> int:
        """Of how many requests something is known."""
        return len(self._tokens)

    def look(self, scheduler: Any, arrivals: Iterable[str]) -> tuple[int, dict[str, int]]:
        """Find what has changed since the last look.

        Args:
            scheduler: vLLM's, with a prefix cache.
            arrivals: Who waits since then.

        Returns:
            Number of this look, and tokens that need not be computed again, of requests where they may be others than before.
        """
        held = adapter.found_blocks(scheduler)
        known = self._tokens
        unknown = [request_id for request_id in arrivals if request_id not in known]
        changed = [*self._changed(held, scheduler.requests), *unknown]
        for request_id in changed:
            self._search(scheduler, request_id, held)
        self._number += 1
        return self._number, {request_id: known[request_id] for request_id in changed}

    def tokens(self, scheduler: Any, request_ids: Sequence[str]) -> list[int]:
        """The same of all these waiting requests, as of the last look."""
        known, held = self._tokens, adapter.found_blocks(scheduler)
        for request_id in [request_id for request_id in request_ids if request_id not in known]:
            self._search(scheduler, request_id, held)
        return [known[request_id] for request_id in request_ids]

    def forget(self, request_id: str) -> None:
        """The request runs, or is gone."""
        if self._tokens.pop(request_id, None) is None:
            return
        self._last.pop(request_id, None)
        self._length.pop(request_id, None)
        key = self._after.pop(request_id, None)
        if key is not None:
            lacking = self._lacking[key]
            del lacking[request_id]
            if not lacking:
                del self._lacking[key]

    def _changed(self, held: dict[bytes, Any], requests: Mapping[str, Any]) -> list[str]:
        """Requests of which what was found no longer holds; a step seldom has many, so few are looked at one by one."""
        evicted = [name for name, key in self._last.items() if key not in held]
        lacking = self._lacking
        returned = [name for key in self._inserted(held) if key in lacking for name in lacking[key]]
        grown = [name for name, length in self._length.items() if requests[name].num_tokens != length]
        return [*dict.fromkeys([*evicted, *returned, *grown])]

    def _inserted(self, held: dict[bytes, Any]) -> list[bytes]:
        """Keys that came into the cache since the last look, and perhaps a few before: a dictionary has them in that order.

        Where the mark of that look is not where it was, or not among the newest now, those that are lacking and there.
        """
        mark, block = self._mark, self._mark_block
        stays = held is self._held and mark is not None and held.get(mark) is block
        self._held = held
        self._set_mark(held)
        if stays:
            newest: list[bytes] = []
            for key in islice(reversed(held), _NEW_KEYS):
                if key is mark:  # itself: a key that went and came again is another object
                    return newest
                newest.append(key)
        return [key for key in self._lacking if key in held]

    def _set_mark(self, held: dict[bytes, Any]) -> None:
        """One of the newest keys that has a single block: vLLM puts others at the end anew when one of theirs goes."""
        self._mark = self._mark_block = None
        for key, block in islice(reversed(held.items()), _MARK_AMONG):
            if not adapter.is_of_several_blocks(block):
                self._mark, self._mark_block = key, block
                break

    def _search(self, scheduler: Any, request_id: str, held: dict[bytes, Any]) -> None:
        request, size = scheduler.requests[request_id], scheduler.block_size
        hashes, most = adapter.reusable_hashes(scheduler, request)
        ending = adapter.block_key_ending()
        count = min(self._tokens.get(request_id, 0) // size, most)
        while count > 0 and hashes[count - 1] + ending not in held:
            count -= 1
        while count < most and hashes[count] + ending in held:
            count += 1
        self.forget(request_id)
        self._tokens[request_id] = count * size
        if count > 0:
            self._last[request_id] = hashes[count - 1] + ending
        if count < most:
            key = self._after[request_id] = hashes[count] + ending
            self._lacking.setdefault(key, {})[request_id] = None
        else:
            self._length[request_id] = request.num_tokens
