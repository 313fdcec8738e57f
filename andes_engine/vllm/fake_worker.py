"""A strict stand-in for vLLM's model runner: it invents tokens, and checks that the scheduler lets it compute them rightly.

It keeps its own copy of what a worker keeps (token ids, block tables) and a KV cache in which each slot holds the
token that was written there. Before a token is sampled, the whole context must be found in the cache through the
block table, so a block that was reused too early, a wrong `num_computed_tokens` or a resume with stale tokens is
caught in the step where it happens. Protocol: `NewRequestData`, `CachedRequestData` (`vllm/v1/core/sched/output.py`),
`ModelRunnerOutput` (`vllm/v1/outputs.py`), 0.32.0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.vllm.local_model import RESERVED_TOKENS, VOCABULARY_TOKENS

EMPTY_SLOT = -1


class WorkerViolationError(AssertionError):
    """The scheduler asked for something that would give wrong tokens on a real device."""


class WorkerRequest:
    """A request as the worker knows it."""

    __slots__ = ("block_ids", "length", "request_id", "tokens")

    def __init__(self, request_id: str, prompt_ids: Sequence[int], capacity_tokens: int) -> None:
        """Start with the prompt; room for `capacity_tokens` tokens in all."""
        self.request_id = request_id
        self.tokens: NDArray[np.int64] = np.zeros(capacity_tokens, dtype=np.int64)
        self.tokens[: len(prompt_ids)] = prompt_ids
        self.length = len(prompt_ids)
        self.block_ids: list[int] = []

    def append(self, token_id: int) -> None:
        """Take a sampled token in."""
        self.tokens[self.length] = token_id
        self.length += 1


class FakeWorker:
    """Computes deterministic tokens under a scheduler's orders."""

    def __init__(
        self,
        block_size: int,
        kv_blocks: int,
        max_model_len: int,
        *,
        host_kv_blocks: int = 0,
        host_copy_s_per_block: float = 0.0,
        strict: bool = True,
    ) -> None:
        """Make an empty cache.

        Args:
            block_size: Tokens per KV block.
            kv_blocks: Blocks of the pool, vLLM's null block included.
            max_model_len: Longest sequence, tokens.
            host_kv_blocks: Blocks of host memory.
            host_copy_s_per_block: What it says copying one of them takes, s.
            strict: Verify the cache behind every sampled token. Off, only the bookkeeping is done.
        """
        self._block_size = block_size
        self._capacity_tokens = max_model_len + 1
        self._cache = np.full(kv_blocks * block_size if strict else 0, EMPTY_SLOT, dtype=np.int64)
        self._host = np.full(host_kv_blocks * block_size, EMPTY_SLOT, dtype=np.int64)
        self._host_copy_s_per_block = host_copy_s_per_block
        self._requests: dict[str, WorkerRequest] = {}
        self._strict = strict

    def execute(self, output: Any) -> Any:
        """Run one scheduled step; returns vLLM's `ModelRunnerOutput`."""
        from vllm.v1.outputs import ModelRunnerOutput

        for request_id in output.finished_req_ids:
            self._requests.pop(request_id, None)
        self._copy(output.kv_connector_metadata)
        starts = self._take_new(output.scheduled_new_reqs) | self._take_cached(output.scheduled_cached_reqs)
        self._write_all(output.num_scheduled_tokens, starts)
        sampled = [
            self._run(request_id, starts[request_id] + n) for request_id, n in output.num_scheduled_tokens.items()
        ]
        ids = list(output.num_scheduled_tokens)
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={request_id: index for index, request_id in enumerate(ids)},
            sampled_token_ids=sampled,
            kv_connector_output=self._told(),
        )

    def _copy(self, orders: Any) -> None:
        """Blocks to host memory and back, before anything is written (`kv_keeper.StepCopies`)."""
        if orders is None or not self._strict:
            return
        cache, host = self._cache.reshape(-1, self._block_size), self._host.reshape(-1, self._block_size)
        for block, host_block in orders.copies.out:
            host[host_block] = cache[block]
        for block, host_block in orders.copies.back:
            cache[block] = host[host_block]

    def _told(self) -> Any:
        if len(self._host) == 0:
            return None
        from vllm.v1.outputs import KVConnectorOutput

        from andes_engine.vllm.kv_keeper import CopyTime

        return KVConnectorOutput(kv_connector_worker_meta=CopyTime(self._host_copy_s_per_block))

    def _take_new(self, new_requests: Sequence[Any]) -> dict[str, int]:
        for new in new_requests:
            # The second-generation model runner resends a resumed request as new, with all its tokens.
            prompt_ids = getattr(new, "prefill_token_ids", None) or new.prompt_token_ids
            request = WorkerRequest(new.req_id, prompt_ids, self._capacity_tokens)
            request.block_ids = list(new.block_ids[0])
            self._requests[new.req_id] = request
        return {new.req_id: new.num_computed_tokens for new in new_requests}

    def _take_cached(self, cached: Any) -> dict[str, int]:
        for request_id, new_block_ids in zip(cached.req_ids, cached.new_block_ids, strict=True):
            request = self._requests.get(request_id)
            if request is None:
                raise WorkerViolationError(
                    f"{request_id} is scheduled as known, but the worker never saw it or dropped it"
                )
            if request_id in cached.resumed_req_ids:
                request.block_ids = []
            request.block_ids.extend(new_block_ids[0] if new_block_ids else ())
        return dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))

    def _slots(self, request: WorkerRequest, begin: int, end: int) -> NDArray[np.int64]:
        positions = np.arange(begin, end)
        if end > len(request.block_ids) * self._block_size:
            raise WorkerViolationError(
                f"{request.request_id}: {end} tokens need more than its {len(request.block_ids)} blocks"
            )
        blocks = np.asarray(request.block_ids)[positions // self._block_size]
        return blocks * self._block_size + positions % self._block_size

    def _write_all(self, scheduled: dict[str, int], starts: dict[str, int]) -> None:
        for request_id, count in scheduled.items():
            request, start = self._requests[request_id], starts[request_id]
            if start + count > request.length:
                raise WorkerViolationError(
                    f"{request_id}: told to compute up to {start + count} of {request.length} known tokens"
                )
            if not self._strict:
                continue
            self._cache[self._slots(request, start, start + count)] = request.tokens[start : start + count]

    def _run(self, request_id: str, computed_tokens: int) -> list[int]:
        request = self._requests[request_id]
        if self._strict:
            context = self._cache[self._slots(request, 0, computed_tokens)]
            if not np.array_equal(context, request.tokens[:computed_tokens]):
                wrong = int(np.flatnonzero(context != request.tokens[:computed_tokens])[0])
                raise WorkerViolationError(f"{request_id}: position {wrong} of {computed_tokens} is not in the cache")
        if computed_tokens < request.length:
            return []  # a prefill chunk, or a preempted request catching up: nothing to sample yet
        token_id = self._sample(request)
        request.append(token_id)
        return [token_id]

    @staticmethod
    def _sample(request: WorkerRequest) -> int:
        # Any function of the whole context would do; the last token and the position make a long, cheap cycle.
        mixed = int(request.tokens[request.length - 1]) * 48_271 + request.length * 16_807 + int(request.tokens[0])
        return len(RESERVED_TOKENS) + mixed % (VOCABULARY_TOKENS - len(RESERVED_TOKENS))
