"""Buffers a decision is written to, and the block arithmetic its parts share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.engine import EngineView
from andes_engine.request import Requests, context_tokens

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

N_PREEMPT, N_ADMIT, N_ORDER, GATED, TOKEN_BUDGET, PLANNED, RESERVE_BLOCKS = range(7)
HEAD_SIZE = 7
"""Fields of `Decision.head`. GATED 0: every waiting request may be admitted, in the engine's order, as long as RESERVE_BLOCKS
stay free (vLLM's own `watermark`), and `order` is empty. PLANNED 1: this decision was a plan, not the continuation of one."""


class Decision(NamedTuple):
    """Buffers a decision is written to; rows of the request table, except `head` and the scratch after `order`."""

    head: IntArray
    preempt: IntArray
    admit: IntArray
    order: IntArray
    gain: FloatArray
    priority: FloatArray
    weight_blocks: IntArray
    chosen: BoolArray
    best: BoolArray
    victim: BoolArray


@compiled
def empty_decision(max_num_seqs: int, rows: int) -> Decision:
    """Buffers for a decision over at most `rows` live requests."""
    return Decision(
        np.zeros(HEAD_SIZE, dtype=np.int64),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(rows, dtype=np.int64),
        np.zeros(max_num_seqs, dtype=np.int64),
        np.zeros(rows),
        np.zeros(rows),
        np.zeros(rows, dtype=np.int64),
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.bool_),
    )


@compiled
def blocks_for(tokens: int, block_size_tokens: int) -> int:
    """KV blocks that hold `tokens`."""
    return (tokens + block_size_tokens - 1) // block_size_tokens


@compiled
def blocks_wanted(table: Requests, row: int, view: EngineView) -> int:
    """Blocks for the sequence as it is plus one to grow into, so that vLLM need not preempt by itself soon."""
    return blocks_for(context_tokens(table, row), view.block_size_tokens) + 1


@compiled
def missing_tokens(table: Requests, row: int) -> int:
    """Tokens whose KV must be computed before the next token comes out."""
    return max(context_tokens(table, row) - table.computed_tokens[row], 1)
