"""Which batch Andes would like: gain per request at each batch size worth trying, and the knapsack over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled
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


@compiled
def choose_batch(
    table: Requests,
    rows: IntArray,
    running: int,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> IntArray:
    """Find the batch with the largest total gain.

    Leaves gain, priority and choice in `plan`, and returns the positions in `rows` by falling priority. Shape (n,).
    """
    n = len(rows)
    context, strictest_s = 0, np.inf
    for position in range(n):
        plan.weight_blocks[position] = blocks_wanted(table, rows[position], view)
        context += context_tokens(table, rows[position])
        strictest_s = min(strictest_s, table.latency_s[rows[position]])
    cap = min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))
    weight = plan.weight_blocks[:n]
    b_max = min(cap, n)
    b_min = _largest_batch_within_pace(step_time, context / n, strictest_s, b_max)
    if b_min < b_max:  # only then does the size of the batch matter to a reader
        b_max = max(largest_batch(weight, view.kv_blocks, cap), 1)
        b_min = min(b_min, b_max)
    order = np.arange(n)
    sizes = 1 if b_min == b_max else _BATCH_SIZES
    best_total, best_batch, batch = -1.0, b_max, b_max
    for trial in range(sizes):
        if sizes > 1:
            batch = int(round(b_min * (b_max / b_min) ** (trial / (sizes - 1))))
        order = _score_and_sort(table, rows, running, view, knobs, step_time, batch, context / n, plan)
        total = pack(order, plan.gain[:n], weight, view.kv_blocks, batch, plan.chosen[:n])
        if total > best_total:
            best_total, best_batch = total, batch
            plan.best[:n] = plan.chosen[:n]
    if best_batch != batch:
        order = _score_and_sort(table, rows, running, view, knobs, step_time, best_batch, context / n, plan)
    plan.chosen[:n] = plan.best[:n]
    return order


@compiled
def _largest_batch_within_pace(step_time: FloatArray, mean_context: float, strictest_s: float, b_max: int) -> int:
    """B_min of Andes: the largest batch that still generates faster than the strictest user reads; at least 1."""
    per_seq_s = step_time[1] + step_time[2] * mean_context
    if step_time[0] + per_seq_s * b_max <= strictest_s:
        return b_max
    return min(max(int((strictest_s - step_time[0]) / per_seq_s), 1), b_max)


@compiled
def _score_and_sort(
    table: Requests,
    rows: IntArray,
    running: int,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    batch: int,
    mean_context: float,
    plan: Decision,
) -> IntArray:
    """Gain of each request at a batch size and its priority, gain per KV block; returns positions by falling priority."""
    token_latency_s = step_seconds(step_time, 0, batch, int(batch * mean_context), 0)
    horizon_s, exponent = knobs[kn.HORIZON_S], knobs[kn.LENGTH_EXPONENT]
    for position in range(len(rows)):
        row = rows[position]
        start_s = view.now_s + _resume_seconds(table, row, view, step_time, token_latency_s)
        gain = delay_cost(table, row, start_s, horizon_s, token_latency_s, horizon_s, knobs[kn.SUNK_LAG_WEIGHT])
        bonus = knobs[kn.RUNNING_BONUS] if position < running else 1.0
        plan.gain[position] = gain
        weight = float(plan.weight_blocks[position])
        plan.priority[position] = bonus * gain / (weight if exponent == 1.0 else weight**exponent)
    return np.argsort(-plan.priority[: len(rows)], kind="mergesort")


@compiled
def _resume_seconds(
    table: Requests, row: int, view: EngineView, step_time: FloatArray, token_latency_s: float
) -> float:
    """Time until the next token if served now: one iteration, or the prefill of what is missing."""
    missing = missing_tokens(table, row)
    if missing == 1:
        return token_latency_s
    return prefill_seconds(step_time, missing, view.max_batched_tokens)
