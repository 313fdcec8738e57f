"""How fast an engine can go: the rate FCFS completes when its queue never empties. Load is rate over this."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError
from andes_engine.sim.simulator import simulate
from andes_engine.workload.lengths import Lengths
from andes_engine.workload.workload import Workload, longest_tokens

REQUESTS = 2000
"""Requests simulated: enough for about 1 % of noise with the longest-tailed family."""

WARM_UP_SHARE = 0.3
"""Share of the saturated time left out: all requests start together, so batches are in step at first."""


def saturation_of(engine: EngineConfig, lengths: Lengths, seed: int = 0) -> float:
    """Requests/s that FCFS completes on `engine` when its queue never empties; simulated, cached.

    Counts tokens, not completions (same mean, far less noise), from the end of the warm-up until the queue is empty.
    Requests too long for the engine are left out. A slowdown lengthens every iteration alike, so it divides the rate; that
    it does not lengthen copies to host memory is neglected.

    Args:
        engine: The engine.
        lengths: Prompt and output lengths; must be hashable.
        seed: Seed of the sampled lengths.

    Raises:
        CapacityError: If the engine can hold none of the requests.
    """
    return _as_modelled(replace(engine, slowdown=1.0), lengths, seed) / engine.slowdown


@lru_cache(maxsize=2048)
def _as_modelled(engine: EngineConfig, lengths: Lengths, seed: int) -> float:
    if held_share(engine, lengths, seed) == 0.0:
        raise CapacityError(
            f"engine '{engine.name}' can hold none of {REQUESTS} requests with these lengths: it holds "
            f"{longest_tokens(engine)} tokens per request; choose shorter ones, or raise kv_blocks (or max_model_len_tokens)"
        )
    workload, _ = _all_at_once(lengths, seed).fitting(engine)
    record = simulate(engine, workload, "fcfs", token_log=True)
    end_s = float(record.first_token_s.max())
    start_s = WARM_UP_SHARE * end_s
    token_s = np.concatenate(record.token_s)
    tokens = np.count_nonzero((token_s > start_s) & (token_s <= end_s))
    return tokens / (end_s - start_s) / float(workload.output_tokens.mean())


@lru_cache(maxsize=2048)
def held_share(engine: EngineConfig, lengths: Lengths, seed: int = 0) -> float:
    """Share of requests with these lengths that `engine` can hold; sampled, cached."""
    every = _all_at_once(lengths, seed)
    return float(np.mean(every.prompt_tokens + every.output_tokens <= longest_tokens(engine)))


def _all_at_once(lengths: Lengths, seed: int) -> Workload:
    prompt, output = lengths.sample(np.random.default_rng(seed), REQUESTS)
    return Workload("saturation", np.zeros(REQUESTS), prompt, output, np.ones(REQUESTS), np.full(REQUESTS, 0.2))
