"""Which batch Andes would like: gain per request at each batch size worth trying, and the knapsack over it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import Decision, resume_seconds
from andes_engine.engine import EngineView
from andes_engine.knapsack import largest_batch, pack
from andes_engine.knapsack_exact import pack_exact
from andes_engine.plan_memory import PlanMemory
from andes_engine.ranking import rank_by_priority
from andes_engine.request import Requests, context_tokens
from andes_engine.request_index import weigh
from andes_engine.schedulers import ANDES_EXACT, ANDES_MAX_MIN, ANDES_PERFECT
from andes_engine.schedulers.andes import TIE_BREAK, delay_cost, max_min_value, perfect_value, project
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]

_BATCH_SIZES = 4
"""Batch sizes tried between B_min and B_max, geometrically spaced."""

READY = 0.0
"""Price of resuming of a request that only has to decode: its next token comes with the next iteration."""


class Survey(NamedTuple):
    """The live requests at a glance: how many, how many of them run, blocks wanted, context tokens, strictest pace."""

    live: int
    running: int
    wanted_blocks: int
    context_tokens: int
    strictest_s: float


@compiled
def batch_limit(view: EngineView, knobs: FloatArray) -> int:
    """Sequences that may run at once."""
    return min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))


@compiled_into_caller
def choose_batch(
    table: Requests,
    survey: Survey,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    memory: PlanMemory,
    plan: Decision,
) -> None:
    """Find the batch with the largest total value; leaves value, priority, order and choice in `plan`."""
    n = survey.live
    weight, mean_context = plan.weight_blocks[:n], survey.context_tokens / survey.live
    cap = batch_limit(view, knobs)
    b_max = min(cap, n)
    b_min = _largest_batch_within_pace(step_time, mean_context, survey.strictest_s, b_max)
    if b_min < b_max:  # only then does the size of the batch matter to a reader
        b_max = max(largest_batch(weight, view.kv_blocks, cap), 1)
        b_min = min(b_min, b_max)
    for position in range(n):
        row = plan.rows[position]
        ready = position < survey.running and context_tokens(table, row) - table.computed_tokens[row] <= 1
        plan.resume_s[position] = READY if ready else resume_seconds(table, row, view, step_time)
    indexed = weigh(table, n, view.now_s, knobs, plan)
    sizes = 1 if b_min == b_max else _BATCH_SIZES
    best_total, best_batch, batch = -1.0, b_max, b_max
    for trial in range(sizes):
        if sizes > 1:
            batch = int(round(b_min * (b_max / b_min) ** (trial / (sizes - 1))))
        _score_and_rank(table, survey, view, scheduler, knobs, step_time, batch, indexed, memory, plan)
        if scheduler == ANDES_EXACT:
            total = pack_exact(plan.gain[:n], weight, view.kv_blocks, batch, plan.chosen[:n])
        else:
            total = pack(plan.by_priority[:n], plan.gain[:n], weight, view.kv_blocks, batch, plan.chosen[:n])
        if total > best_total:
            best_total, best_batch = total, batch
            for position in range(n):
                plan.best[position] = plan.chosen[position]
    if best_batch != batch:
        _score_and_rank(table, survey, view, scheduler, knobs, step_time, best_batch, indexed, memory, plan)
    for position in range(n):
        plan.chosen[position] = plan.best[position]


@compiled
def _largest_batch_within_pace(step_time: FloatArray, mean_context: float, strictest_s: float, b_max: int) -> int:
    """B_min of Andes: the largest batch that still generates faster than the strictest user reads; at least 1. By bisection."""
    low, high = 1, b_max
    while low < high:
        middle = (low + high + 1) // 2
        if step_seconds(step_time, 0, middle, int(middle * mean_context), 0, 0) <= strictest_s:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def _score_and_rank(
    table: Requests,
    survey: Survey,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    batch: int,
    indexed: bool,
    memory: PlanMemory,
    plan: Decision,
) -> None:
    """Value of each request at a batch size and its priority, value per KV block; positions by falling priority."""
    n = survey.live
    token_latency_s = step_seconds(step_time, 0, batch, int(batch * survey.context_tokens / n), 0, 0)
    horizon_s, exponent, sunk = knobs[kn.HORIZON_S], knobs[kn.LENGTH_EXPONENT], knobs[kn.SUNK_LAG_WEIGHT]
    for position in range(n):
        row = plan.rows[position]
        start_s = view.now_s + max(plan.resume_s[position], token_latency_s)
        plan.gain[position] = delay_cost(table, row, start_s, horizon_s, token_latency_s, horizon_s, sunk)
    if scheduler in (ANDES_MAX_MIN, ANDES_PERFECT):
        _other_objective(table, survey, view, scheduler, horizon_s, token_latency_s, plan)
    for position in range(n if indexed else 0):
        plan.gain[position] *= plan.factor[position]
    for position in range(n):
        bonus = knobs[kn.RUNNING_BONUS] if position < survey.running else 1.0
        weight = float(plan.weight_blocks[position])
        plan.priority[position] = bonus * plan.gain[position] / (weight if exponent == 1.0 else weight**exponent)
    rank_by_priority(table, plan.rows[:n], plan.priority[:n], memory.ranking, memory.places, plan.by_priority[:n])


@compiled_into_caller
def _other_objective(
    table: Requests,
    survey: Survey,
    view: EngineView,
    scheduler: int,
    horizon_s: float,
    token_latency_s: float,
    plan: Decision,
) -> None:
    """Replace the average gain by the value of the objective; the worst QoE is that of the requests served from now on."""
    lowest = 1.0
    for position in range(survey.live):
        start_s = view.now_s + max(plan.resume_s[position], token_latency_s)
        ahead = project(table, plan.rows[position], start_s, horizon_s, token_latency_s, horizon_s)
        lowest = min(lowest, ahead.whole_s / (ahead.whole_s + ahead.sunk_s))
    for position in range(survey.live):
        start_s = view.now_s + max(plan.resume_s[position], token_latency_s)
        ahead = project(table, plan.rows[position], start_s, horizon_s, token_latency_s, horizon_s)
        value = max_min_value(lowest, ahead) if scheduler == ANDES_MAX_MIN else perfect_value(ahead)
        plan.gain[position] = value + TIE_BREAK * plan.gain[position]
