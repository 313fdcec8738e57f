"""Which batch Andes would like: gain per request at each batch size worth trying, and the knapsack over it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.decision_buffers import Decision, blocks_wanted, missing_tokens
from andes_engine.engine import EngineView
from andes_engine.knapsack import largest_batch, pack
from andes_engine.request import Requests, context_tokens
from andes_engine.schedulers.andes import delay_cost
from andes_engine.step_time import prefill_seconds, step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BATCH_SIZES = 4
"""Batch sizes tried between B_min and B_max, geometrically spaced."""


@njit(cache=True)
def choose_batch(
    table: Requests,
    rows: IntArray,
    running: int,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> None:
    """Leave in `plan` the gain, priority and choice at the batch size with the largest total gain."""
    n = len(rows)
    context, strictest_s = 0, np.inf
    for position in range(n):
        plan.weight_blocks[position] = blocks_wanted(table, rows[position], view)
        context += context_tokens(table, rows[position])
        strictest_s = min(strictest_s, table.latency_s[rows[position]])
    cap = min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))
    weight = plan.weight_blocks[:n]
    b_max = max(largest_batch(weight, view.kv_blocks, cap), 1)
    b_min = _largest_batch_within_pace(step_time, context / n, strictest_s, b_max)
    best_total = -1.0
    best_batch = b_max
    sizes = 1 if b_min == b_max else _BATCH_SIZES
    for trial in range(sizes):
        batch = b_max if sizes == 1 else int(round(b_min * (b_max / b_min) ** (trial / (sizes - 1))))
        _score(table, rows, running, view, knobs, step_time, batch, context / n, plan)
        order = np.argsort(-plan.priority[:n], kind="mergesort")
        total = pack(order, plan.gain[:n], weight, view.kv_blocks, batch, plan.chosen[:n])
        if total > best_total:
            best_total, best_batch = total, batch
            plan.best[:n] = plan.chosen[:n]
    if best_batch != b_max:
        _score(table, rows, running, view, knobs, step_time, best_batch, context / n, plan)
    plan.chosen[:n] = plan.best[:n]


@njit(cache=True)
def _largest_batch_within_pace(step_time: FloatArray, mean_context: float, strictest_s: float, b_max: int) -> int:
    """B_min of Andes: the largest batch that still generates faster than the strictest user reads; at least 1."""
    per_seq_s = step_time[1] + step_time[2] * mean_context
    if step_time[0] + per_seq_s * b_max <= strictest_s:
        return b_max
    return min(max(int((strictest_s - step_time[0]) / per_seq_s), 1), b_max)


@njit(cache=True)
def _score(
    table: Requests,
    rows: IntArray,
    running: int,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    batch: int,
    mean_context: float,
    plan: Decision,
) -> None:
    """Gain of each request at a batch size, and its priority: gain per KV block, with the bonus for running ones."""
    token_latency_s = step_seconds(step_time, 0, batch, int(batch * mean_context), 0)
    horizon_s, exponent = knobs[kn.HORIZON_S], knobs[kn.LENGTH_EXPONENT]
    for position in range(len(rows)):
        row = rows[position]
        start_s = view.now_s + _resume_seconds(table, row, view, step_time, token_latency_s)
        gain = delay_cost(table, row, start_s, horizon_s, token_latency_s, horizon_s, knobs[kn.SUNK_LAG_WEIGHT])
        bonus = knobs[kn.RUNNING_BONUS] if position < running else 1.0
        plan.gain[position] = gain
        plan.priority[position] = bonus * gain / plan.weight_blocks[position] ** exponent


@njit(cache=True)
def _resume_seconds(
    table: Requests, row: int, view: EngineView, step_time: FloatArray, token_latency_s: float
) -> float:
    """Time until the next token if served now: one iteration, or the prefill of what is missing."""
    missing = missing_tokens(table, row)
    if missing == 1:
        return token_latency_s
    return prefill_seconds(step_time, missing, view.max_batched_tokens)
