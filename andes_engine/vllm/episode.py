"""What the two vLLM engines share: their size, the requests of an episode, and the record of what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from andes_engine.errors import CapacityError, InvalidWorkloadError
from andes_engine.vllm.local_model import RESERVED_TOKENS, VOCABULARY_TOKENS, ModelShape

_SHARED = 1 << 32
"""Seeds the content of shared stretches apart from that of requests, whose ids are bytes."""

SchedulerKind = Literal["stock", "andes"]
"""`stock`: vLLM's own scheduler class, first come first served. `andes`: ours, with a replaceable planner."""


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """Size of a small engine on which KV memory, not compute, is the bottleneck.

    `shape` is the whole model where `hidden` and `layers` do not say enough. Without `eager`, vLLM compiles and captures graphs.
    """

    hidden: int = 256
    layers: int = 4
    block_size: int = 32
    kv_blocks: int = 120
    max_batched_tokens: int = 512
    max_num_seqs: int = 128
    max_model_len: int = 2048
    prefix_caching: bool = True
    seed: int = 0
    host_kv_blocks: int = 0
    """Blocks of host memory for the KV caches of preempted requests; 0: they are recomputed."""
    shape: ModelShape | None = None
    eager: bool = True

    @property
    def model_shape(self) -> ModelShape:
        """The model that is served."""
        heads = max(1, self.hidden // 64)
        return self.shape or ModelShape(self.hidden, self.layers, heads, max_position_tokens=self.max_model_len)

    @property
    def usable_kv_tokens(self) -> int:
        """Tokens of KV cache; vLLM keeps one block for itself (`BlockPool.null_block`)."""
        return (self.kv_blocks - 1) * self.block_size

    def engine_arguments(self) -> dict[str, Any]:
        """The same as vLLM names it, for `EngineArgs` and, with dashes, for its command line."""
        return {
            "dtype": self.model_shape.dtype,
            "seed": self.seed,
            "block_size": self.block_size,
            "num_gpu_blocks_override": self.kv_blocks,
            "max_model_len": self.max_model_len,
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": self.max_batched_tokens,
            "enable_prefix_caching": self.prefix_caching,
            "enforce_eager": self.eager,
        }

    def keeping_kv(self, share: float) -> LiveConfig:
        """This engine with host memory for `share` times its KV cache at least, as `EngineConfig.keeping_kv`."""
        return replace(self, host_kv_blocks=max(self.host_kv_blocks, int(share * self.kv_blocks)))

    @property
    def longest_request_tokens(self) -> int:
        """Prompt and output together that one request may have."""
        return min(self.max_model_len, self.usable_kv_tokens)


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One request of an episode: when it comes, how long it is, what its reader expects.

    Args:
        request_id: Unique in the episode.
        arrival_s: When it comes, s since the episode began.
        prompt_tokens: Prompt length.
        output_tokens: Tokens it generates.
        ttft_s: Expected time to first token, s.
        latency_s: Reader's pace, s per token.
        user: Who asks.
        abort_s: When the reader leaves, s since the episode began; infinite for never.
        hash_ids: Content of the prompt by stretches, as in `workload.prefix.PrefixHashes`; empty if it shares nothing.
        hash_tokens: Tokens of a stretch.
    """

    request_id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float = 1.0
    latency_s: float = 0.2
    user: int = 0
    abort_s: float = math.inf
    hash_ids: tuple[int, ...] = ()
    hash_tokens: int = 1

    @property
    def extra_args(self) -> dict[str, object]:
        """The reader's expectation as vLLM carries it: flat keys of `SamplingParams.extra_args`."""
        return {
            "qoe_ttft": self.ttft_s,
            "qoe_tds": 1.0 / self.latency_s,
            "qoe_id": self.request_id,
            "qoe_user": self.user,
        }

    def prompt_ids(self, seed: int) -> list[int]:
        """Random prompt that depends on the seed, the request id and the hash ids alone, so that every engine sees the same."""
        words = np.frombuffer(self.request_id.encode(), dtype=np.uint8)
        prompt = _random_tokens([seed, *words.tolist()], self.prompt_tokens)
        for place, hash_id in enumerate(self.hash_ids):
            stretch = slice(place * self.hash_tokens, (place + 1) * self.hash_tokens)
            prompt[stretch] = _random_tokens([seed, _SHARED, hash_id], self.hash_tokens)[: len(prompt[stretch])]
        return prompt


def _random_tokens(entropy: list[int], count: int) -> list[int]:
    return np.random.default_rng(entropy).integers(len(RESERVED_TOKENS), VOCABULARY_TOKENS, size=count).tolist()


class StepSample(NamedTuple):
    """One measured engine step: when it began, how long it took, what it contained (see `StepLoad`).

    `device_s` is the part of it that the executor took; None where it is not measured.
    """

    start_s: float
    duration_s: float
    prefill_tokens: int
    decode_seqs: int
    context_tokens: int
    sum_sq_prefill: int
    prefill_context: int
    device_s: float | None = None


OnStep = Callable[[StepSample], None]


@dataclass(slots=True)
class EpisodeRecord:
    """What came out of an engine; `reset()` of an engine starts a new one."""

    token_times: dict[str, list[float]] = field(default_factory=dict)
    """Per request, when each token came out, s since the episode began."""
    token_ids: dict[str, list[int]] = field(default_factory=dict)
    preemptions: dict[str, int] = field(default_factory=dict)
    samples: list[StepSample] = field(default_factory=list)

    @classmethod
    def of(cls, requests: Sequence[EpisodeRequest]) -> EpisodeRecord:
        """An empty record with an entry for each request."""
        ids = [request.request_id for request in requests]
        return cls({i: [] for i in ids}, {i: [] for i in ids}, dict.fromkeys(ids, 0))

    def emit(self, request_id: str, token_ids: Sequence[int], now_s: float) -> None:
        """Tokens of a request came out."""
        self.token_ids[request_id].extend(token_ids)
        self.token_times[request_id].extend([now_s] * len(token_ids))


def check_keeps(config: LiveConfig, scheduler: SchedulerKind) -> None:
    """Refuse host memory that would not be used: only our scheduler hands blocks over (`kv_keeper`).

    Raises:
        CapacityError: If vLLM's own scheduler is to run with host memory, or there is less than none.
    """
    if config.host_kv_blocks < 0 or (config.host_kv_blocks and scheduler == "stock"):
        raise CapacityError(
            f"host_kv_blocks = {config.host_kv_blocks} with scheduler = {scheduler!r}: must be >= 0, and vLLM's own scheduler "
            "('stock') keeps nothing; set host_kv_blocks=0 or scheduler='andes'"
        )


def check_requests(requests: Sequence[EpisodeRequest], config: LiveConfig) -> list[EpisodeRequest]:
    """Refuse an episode that the engine cannot finish, before anything starts.

    Returns:
        The requests by arrival; equal arrivals keep their order.

    Raises:
        InvalidWorkloadError: If ids repeat or a value is impossible.
        CapacityError: If a request is longer than the engine allows. Both are ValueErrors.
    """
    seen: set[str] = set()
    for request in requests:
        if request.request_id in seen:
            raise InvalidWorkloadError(f"request id {request.request_id!r} occurs twice; make ids unique.")
        seen.add(request.request_id)
        _check_values(request)
        _check_length(request, config)
    return sorted(requests, key=lambda request: request.arrival_s)


def _check_values(request: EpisodeRequest) -> None:
    numbers = (request.arrival_s, request.ttft_s, request.latency_s)
    if not all(map(math.isfinite, numbers)) or min(request.arrival_s, request.ttft_s) < 0 or request.latency_s <= 0:
        raise InvalidWorkloadError(
            f"request {request.request_id!r}: arrival_s, ttft_s must be finite and >= 0, latency_s finite and > 0; got {numbers}."
        )
    if not request.abort_s >= request.arrival_s:
        raise InvalidWorkloadError(
            f"request {request.request_id!r}: abort_s = {request.abort_s} must not be before arrival_s = {request.arrival_s}."
        )
    if min(request.prompt_tokens, request.output_tokens) < 1:
        raise InvalidWorkloadError(f"request {request.request_id!r} needs at least one prompt and one output token.")


def _check_length(request: EpisodeRequest, config: LiveConfig) -> None:
    total_tokens = request.prompt_tokens + request.output_tokens
    if total_tokens <= config.longest_request_tokens:
        return
    raise CapacityError(
        f"request {request.request_id!r} has {request.prompt_tokens} + {request.output_tokens} = {total_tokens} tokens, but this "
        f"engine allows {config.longest_request_tokens} (max_model_len {config.max_model_len}, KV cache "
        f"{config.usable_kv_tokens} tokens). Shorten the request, or raise max_model_len or kv_blocks."
    )
