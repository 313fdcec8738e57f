"""Buffers a decision is written to, and the arithmetic of blocks and prices that its parts share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.engine import EngineView
from andes_engine.request import Requests, context_tokens
from andes_engine.step_time import prefill_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
PositionArray = NDArray[np.uint32]

N_PREEMPT, N_ADMIT, N_ORDER, GATED, TOKEN_BUDGET, PLANNED, RESERVE_BLOCKS, N_PAUSED = range(8)
HEAD_SIZE = 8
"""Fields of `Decision.head`. GATED 0: every waiting request may be admitted, in the engine's order, as long as RESERVE_BLOCKS
stay free (vLLM's own `watermark`), and `order` is empty. PLANNED 1: this decision was a plan, not the continuation of one."""


ARRIVAL_S, DUE_S, LATENCY_S, EMITTED, REMAINING, LATE_S, LAG_SUM_S, DIVISOR = range(8)
_FACT_COUNT = 8
"""Kinds of `Decision.facts`: arrival; where the reader stands (`schedulers.andes.Standing`); what a gain is divided by for a
priority."""

_POWERS = 512


class Decision(NamedTuple):
    """Buffers a decision is written to; rows of the request table, except `head` and the scratch after `order`.

    Most of the scratch is by position in `rows`, so that whoever goes over all requests reads neighbours; `facts` has the kind of
    fact as its first axis. `ranked` are the positions of running requests by falling priority, then those of waiting ones.
    `powers` begins with an exponent, and knows powers of some numbers of blocks (0: not yet).
    """

    head: IntArray
    preempt: IntArray
    admit: IntArray
    order: IntArray
    rows: PositionArray
    ranked: PositionArray
    gain: FloatArray
    priority: FloatArray
    resume_s: FloatArray
    factor: FloatArray
    best_gain: FloatArray
    facts: FloatArray
    powers: FloatArray
    weight_blocks: IntArray
    missing: IntArray
    best_ranked: PositionArray
    scratch: PositionArray
    chosen: BoolArray
    best: BoolArray
    victim: BoolArray


@compiled_allocating
def empty_decision(max_num_seqs: int, rows: int) -> Decision:
    """Buffers for a decision over at most `rows` live requests."""
    return Decision(
        np.zeros(HEAD_SIZE, dtype=np.int64),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(rows, dtype=np.uint32),
        np.zeros(rows, dtype=np.uint32),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros((_FACT_COUNT, rows)),
        np.zeros(_POWERS),
        np.zeros(rows, dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
        np.zeros(rows, dtype=np.uint32),
        np.zeros((3, rows), dtype=np.uint32),
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.bool_),
    )


@compiled
def blocks_for(tokens: int, block_size_tokens: int) -> int:
    """KV blocks that hold `tokens`. In floating point, exact below 2**50 and many times faster than dividing integers.

    Times the reciprocal, which a loop works out once: half a token off a whole number of blocks, more than both roundings take.
    """
    return int((tokens + block_size_tokens - 0.5) * (1.0 / block_size_tokens))


@compiled
def blocks_wanted(context: int, block_size_tokens: int) -> int:
    """Blocks for a sequence as it is plus one to grow into, so that vLLM need not preempt by itself soon."""
    return blocks_for(context, block_size_tokens) + 1


@compiled
def missing_tokens(table: Requests, row: int) -> int:
    """Tokens whose KV must be computed before the next token comes out, if the device's own cache is all there is."""
    return max(context_tokens(table, row) - max(table.computed_tokens[row], table.cached_tokens[row]), 1)


@compiled
def host_pays(table: Requests, row: int, view: EngineView, step_time: FloatArray) -> bool:
    """Whether copying a waiting request's KV back from host memory is cheaper than computing it."""
    extra = table.host_tokens[row] - table.cached_tokens[row]
    if extra <= 0:
        return False
    copied = blocks_for(extra, view.block_size_tokens) * view.host_copy_s_per_block
    return copied < prefill_seconds(step_time, extra, view.max_batched_tokens)


@compiled
def resume_tokens(table: Requests, row: int, view: EngineView, step_time: FloatArray) -> int:
    """Tokens a request has to prefill to go on, after taking back whatever is cheaper to take back; at least 1."""
    if host_pays(table, row, view, step_time):
        return max(context_tokens(table, row) - table.host_tokens[row], 1)
    return missing_tokens(table, row)


@compiled
def resume_seconds(table: Requests, row: int, view: EngineView, step_time: FloatArray) -> float:
    """Price of resuming, s: prefill of what is missing, plus copying from host memory where that is the cheaper way."""
    chunk = view.max_batched_tokens
    if not host_pays(table, row, view, step_time):
        return prefill_seconds(step_time, missing_tokens(table, row), chunk)
    extra = table.host_tokens[row] - table.cached_tokens[row]
    copied_s = blocks_for(extra, view.block_size_tokens) * view.host_copy_s_per_block
    return prefill_seconds(step_time, resume_tokens(table, row, view, step_time), chunk) + copied_s
