"""What vLLM's prefix cache still holds of each waiting request: the price of resuming it."""

from collections.abc import Sequence
from typing import Any

from andes_engine.vllm import adapter


class PrefixProbe:
    """Asks vLLM's block pool, starting from the last answer: about two look-ups per waiting request and step."""

    def __init__(self) -> None:
        """Nothing known yet."""
        self._known_blocks: dict[str, int] = {}

    def cached_tokens(self, scheduler: Any, requests: Sequence[Any]) -> list[int]:
        """Tokens of waiting requests that need not be computed again."""
        if not adapter.caches_prefixes(scheduler):
            return [0] * len(requests)
        return [self._cached_tokens(scheduler, request) for request in requests]

    def _cached_tokens(self, scheduler: Any, request: Any) -> int:
        known = self._known_blocks.get(request.request_id, 0)
        blocks = adapter.cached_blocks(scheduler, request, known)
        if blocks != known:
            self._known_blocks[request.request_id] = blocks
        return blocks * int(scheduler.block_size)

    def forget(self, request_id: str) -> None:
        """The request runs, or is gone."""
        self._known_blocks.pop(request_id, None)
