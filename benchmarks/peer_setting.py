"""What both simulators are given: the same requests, and engines as alike as their options allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.step_time import StepTime
from andes_engine.workload import Workload

MEAN_PROMPT_TOKENS, MEAN_OUTPUT_TOKENS = 250, 300
STEP_MS = 10.0
BLOCK_SIZE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Setting:
    """One workload on one engine.

    Args:
        name: Shown in the tables.
        rate_per_s: Mean of the Poisson arrivals, requests/s.
        kv_blocks: KV cache, blocks of `BLOCK_SIZE_TOKENS`.
        requests: How many.
        seed: Of arrivals and lengths.
    """

    name: str
    rate_per_s: float
    kv_blocks: int
    requests: int = 10_000
    seed: int = 0

    def with_requests(self, count: int) -> Setting:
        """The same with another number of requests."""
        return replace(self, requests=count)

    @property
    def workload(self) -> Workload:
        """Poisson arrivals, geometric lengths (the least assuming ones with a given mean), readers of one kind."""
        rng = np.random.default_rng(self.seed)
        return Workload(
            self.name,
            np.cumsum(rng.exponential(1.0 / self.rate_per_s, self.requests)),
            rng.geometric(1.0 / MEAN_PROMPT_TOKENS, self.requests),
            rng.geometric(1.0 / MEAN_OUTPUT_TOKENS, self.requests),
            np.full(self.requests, 1.0),
            np.full(self.requests, 0.2),
        )

    @property
    def engine(self) -> EngineConfig:
        """Our engine: vLLM's default limits, and every iteration takes `STEP_MS`."""
        step_s = STEP_MS / 1000.0
        step_time = StepTime("fixed_10ms", decode=(step_s, 0, 0), mixed=(step_s, 0, 0, 0, 0))
        return EngineConfig("fixed_10ms", step_time, self.kv_blocks, BLOCK_SIZE_TOKENS)


SETTINGS = (
    Setting("8/s", 8.0, 28_000),
    Setting("20/s", 20.0, 28_000),
    Setting("20/s, little memory", 20.0, 1_500),
)
"""Plenty of KV cache (448,000 tokens, an 80 GB GPU with an 8B model): what a simulator's own machinery costs. Little of it
(24,000 tokens, below what 20/s needs): both simulators preempt all the time, and Andes has something to decide.
"""


def mocker_config(engine: EngineConfig) -> dict[str, Any]:
    """Dynamo's engine configuration with the limits of `engine`.

    Its `fixed` timing makes a pass take `prefill_ms` if it computes prompt tokens, plus `decode_ms` if a sequence decodes in
    it (observed with ai-dynamo-runtime 1.6.1). So 0 + 10 ms is 10 ms for each pass, except those that hold prompts only,
    when nothing else runs: these take no time. 10 + 10 ms would make each pass with a new prompt take 20.
    """
    return {
        "engine": {
            "backend": "vllm",
            "num_gpu_blocks": engine.kv_blocks,
            "block_size": engine.block_size_tokens,
            "max_num_seqs": engine.max_num_seqs,
            "max_num_batched_tokens": engine.max_batched_tokens,
            "enable_prefix_caching": False,
            "enable_chunked_prefill": True,
            "preemption_mode": "lifo",
            "timing_model": {"type": "fixed", "prefill_ms": 0.0, "decode_ms": STEP_MS},
        }
    }


def mooncake_lines(workload: Workload, block_size_tokens: int) -> Iterator[str]:
    """The workload in the Mooncake trace format: one JSON object per request, in order of arrival.

    `timestamp` is in ms, lengths in tokens; `hash_ids` names the blocks of the prompt, and as no two requests share one,
    nothing could be cached even if it were allowed.
    """
    first_id = 0
    columns = (workload.arrival_s, workload.prompt_tokens, workload.output_tokens)
    for arrival_s, prompt, output in zip(*(values.tolist() for values in columns), strict=True):
        blocks = -(-prompt // block_size_tokens)
        ids = list(range(first_id, first_id + blocks))
        first_id += blocks
        fields = {"timestamp": 1000.0 * arrival_s, "input_length": prompt, "output_length": output, "hash_ids": ids}
        yield json.dumps(fields)
