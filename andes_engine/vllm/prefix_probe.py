"""What vLLM's prefix cache still holds of each waiting request: the price of resuming it."""

from collections.abc import Sequence
from typing import Any

from andes_engine.vllm import adapter


class PrefixProbe:
    """Asks vLLM's block pool, starting from the last answer: about two look-ups per waiting request and step."""

    def __init__(self) -> None:
        """Nothing known yet."""
        self._known_blocks: dict[str, int] = {}

    def cached_tokens(self, scheduler: Any, request_ids: Sequence[str]) -> list[int] | None:
        """Tokens of waiting requests that need not be computed again; None for an engine that never finds any."""
        if not adapter.caches_prefixes(scheduler):
            return None
        return [self._cached_tokens(scheduler, scheduler.requests[request_id]) for request_id in request_ids]

    def _cached_tokens(self, scheduler: Any, request: Any) -> int:
        known = self._known_blocks.get(request.request_id, 0)
        blocks = adapter.cached_blocks(scheduler, request, known)
        if blocks != known:
            self._known_blocks[request.request_id] = blocks
        return blocks * int(scheduler.block_size)

    def forget(self, request_id: str) -> None:
        """The request runs, or is gone."""
        self._known_blocks.pop(request_id, None)
