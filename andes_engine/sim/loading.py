"""Putting a workload into a simulated engine: everything back to time 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError
from andes_engine.lengths import length_hints, length_source
from andes_engine.plan_memory import NEXT_ABORT_S, forget
from andes_engine.request import clear_rows
from andes_engine.sim.block_pool import reset_pool
from andes_engine.sim.state import Engines
from andes_engine.workload import Workload


def load_requests(mine: Engines, config: EngineConfig, workload: Workload) -> None:
    """Rows, queues and memory of one engine at time 0 of a workload.

    Raises:
        CapacityError: If there are more users, tokens or shorter hash blocks than the engine's arrays and blocks allow.
    """
    n = len(workload)
    clear_rows(mine.table)
    for name in ("arrival_s", "ttft_s", "latency_s", "prompt_tokens"):
        mine.table[name][:n] = getattr(workload, name)
    mine.output_tokens[:n], mine.finish_s[:] = workload.output_tokens, np.nan
    mine.now_s[0], mine.counters[:] = 0.0, 0
    mine.registers[:] = (0, 0, config.kv_blocks, 0, n, config.host_kv_blocks, 0)
    forget(mine.memory)
    _load_readers(mine, workload)
    _load_prefixes(mine, config, workload)
    _load_token_log(mine, workload)


def load_lengths(mine: Engines, workload: Workload, lengths: str, sigma: float) -> None:
    """The length source and, for an oracle, what it says."""
    mine.memory.length_kind[0] = length_source(lengths).kind
    mine.table["length_hint_tokens"][: len(workload)] = told_lengths(workload, lengths, sigma)


def told_lengths(workload: Workload, lengths: str, sigma: float) -> NDArray[np.float64]:
    """What a length source is told of each request: drawn from the workload, so the same for every scheduler and engine."""
    rng = np.random.default_rng(int(workload.fingerprint, 16))
    return length_hints(length_source(lengths).kind, workload.output_tokens, sigma, rng)


def _load_readers(mine: Engines, workload: Workload) -> None:
    n, users = len(workload), mine.memory.user_service.shape[0]
    if workload.user.max() >= users:
        raise CapacityError(
            f"workload '{workload.name}' has users up to {workload.user.max()}, this simulator knows {users}; raise users"
        )
    mine.table["user"][:n] = workload.user
    mine.abort_s[:n], mine.abort_s[n:] = workload.abort_s, np.inf
    mine.memory.rhythm[NEXT_ABORT_S] = np.inf


def _load_prefixes(mine: Engines, config: EngineConfig, workload: Workload) -> None:
    if not config.prefix_caching:
        return
    reset_pool(mine.pool, config.kv_blocks, config.max_num_seqs)
    hashes = workload.block_hashes
    mine.hash_tokens[0] = 0 if hashes is None else hashes.block_tokens
    if hashes is None:
        return
    if hashes.block_tokens % config.block_size_tokens:
        raise CapacityError(
            f"workload '{workload.name}' shares prompts in blocks of {hashes.block_tokens} tokens, which KV blocks of "
            f"{config.block_size_tokens} tokens do not divide; choose another block_size_tokens for engine '{config.name}'"
        )
    mine.hash_ids[: len(hashes.hash_ids)] = hashes.hash_ids
    mine.hash_offsets[: len(hashes.hash_offsets)] = hashes.hash_offsets


def _load_token_log(mine: Engines, workload: Workload) -> None:
    size = mine.token_s.shape[0]
    if size == 0:
        return
    if workload.output_tokens.sum() > size:
        raise CapacityError(
            f"workload '{workload.name}' has {workload.output_tokens.sum()} tokens, the log holds {size}"
        )
    mine.token_offset[: len(workload)] = np.concatenate([[0], np.cumsum(workload.output_tokens)[:-1]])
