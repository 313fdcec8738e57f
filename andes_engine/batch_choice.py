"""Which batch Andes would like: gain per request at each batch size worth trying, and the knapsack over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled, compiled_for_many, compiled_into_caller
from andes_engine.decision_buffers import ARRIVAL_S, DIVISOR, Decision, resume_seconds
from andes_engine.engine import EngineView
from andes_engine.gains import score
from andes_engine.knapsack import largest_batch, pack
from andes_engine.knapsack_exact import pack_exact
from andes_engine.plan_memory import PlanMemory
from andes_engine.ranking import Ranked, Ranks, rank_by_priority
from andes_engine.request import Requests, context_tokens
from andes_engine.request_index import weigh
from andes_engine.schedulers import ANDES_EXACT, ANDES_MAX_MIN, ANDES_PERFECT
from andes_engine.step_time import scalars, step_seconds
from andes_engine.survey import Survey, is_unusual, lay_out_lags

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BATCH_SIZES = 4
"""Batch sizes tried between B_min and B_max, geometrically spaced."""

READY = 0.0
"""Price of resuming of a request that only has to decode: its next token comes with the next iteration."""


@compiled
def batch_limit(view: EngineView, knobs: FloatArray) -> int:
    """Sequences that may run at once."""
    return min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))


@compiled
def token_budget(decodes: int, view: EngineView, knobs: FloatArray) -> int:
    """Tokens of an iteration with so many decodes: one each, and the prefill it may have beside them."""
    return min(view.max_batched_tokens, decodes + int(round(knobs[kn.PREFILL_TOKENS_PER_STEP])))


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
    """Find the batch with the largest total value; leaves value, priority, rank and choice in `plan`."""
    n = survey.live
    weight, mean_context = plan.weight_blocks[:n], survey.context_tokens / survey.live
    cap = batch_limit(view, knobs)
    b_max = min(cap, n)
    b_min = _largest_batch_within_pace(step_time, mean_context, survey.strictest_s, b_max)
    if b_min < b_max:  # only then does the size of the batch matter to a reader
        b_max = max(largest_batch(weight, view.kv_blocks, cap), 1)
        b_min = min(b_min, b_max)
    if knobs[kn.SUNK_LAG_WEIGHT] > 0.0 or scheduler in (ANDES_MAX_MIN, ANDES_PERFECT):
        lay_out_lags(table, survey, plan)
    _price_resuming(table, survey, view, step_time, plan)
    _weigh_memory(survey, knobs, plan)
    indexed = weigh(table, n, view.now_s, knobs, plan)
    sizes = 1 if b_min == b_max else _BATCH_SIZES
    best_total, batch = -1.0, 0
    for trial in range(sizes):
        tried, batch = batch, b_max
        if sizes > 1:
            batch = int(round(b_min * (b_max / b_min) ** (trial / (sizes - 1))))
        if batch == tried:
            continue
        score(survey, view, scheduler, knobs, step_time, batch, indexed, plan)
        rank_live(survey, memory, plan)
        if scheduler == ANDES_EXACT:
            total = pack_exact(plan.gain[:n], weight, view.kv_blocks, batch, plan.chosen[:n])
        else:
            order, gain = Ranked(ranks_of(plan, n), plan.ranked[:n], survey.running), plan.gain[:n]
            total = pack(order, gain, weight, view.kv_blocks, batch, sizes > 1, plan.chosen[:n])
        if sizes > 1 and total > best_total:
            best_total = total
            for position in range(n):
                plan.best[position], plan.best_gain[position] = plan.chosen[position], plan.gain[position]
                plan.best_ranked[position] = plan.ranked[position]
    for position in range(n if sizes > 1 else 0):
        plan.chosen[position], plan.gain[position] = plan.best[position], plan.best_gain[position]
        plan.ranked[position] = plan.best_ranked[position]


@compiled
def _price_resuming(table: Requests, survey: Survey, view: EngineView, step_time: FloatArray, plan: Decision) -> None:
    """What it costs to go on, s; asks `resume_seconds` where it may not be one prefill of what is missing."""
    running, resume_s = survey.running, plan.resume_s
    first = 0 if survey.owed_tokens > 0 else running
    _price_prefills(scalars(step_time), plan.missing[first : survey.live], resume_s[first:])
    for position in range(running):
        if plan.missing[position] == 1:
            resume_s[position] = READY
    for position in range(survey.unusual_from, survey.live):
        row = plan.rows[position]
        starts = position >= running or context_tokens(table, row) - table.computed_tokens[row] > 1
        if starts and is_unusual(table, row, plan.missing[position], view):
            resume_s[position] = resume_seconds(table, row, view, step_time)


@compiled_for_many
def _price_prefills(step_time: tuple[float, ...], missing: IntArray, resume_s: FloatArray) -> None:
    for index in range(len(missing)):
        tokens = max(missing[index], 1)  # as it is: told, or there would be a branch
        resume_s[index] = step_seconds(step_time, tokens, 0, 0, tokens * tokens, 0)


@compiled
def _weigh_memory(survey: Survey, knobs: FloatArray, plan: Decision) -> None:
    """What a gain is divided by: KV blocks to the knob `length_exponent`. A power costs more than a gain, so they are kept."""
    exponent, powers, divisor = knobs[kn.LENGTH_EXPONENT], plan.powers, plan.facts[DIVISOR]
    if powers[0] != exponent:
        powers[:] = 0.0  # not known yet
        powers[0] = exponent
    for position in range(survey.live):
        divisor[position] = float(plan.weight_blocks[position])
    for position in range(0 if exponent == 1.0 else survey.live):
        weight = plan.weight_blocks[position]
        if weight >= len(powers):
            divisor[position] = float(weight) ** exponent
        else:
            if powers[weight] == 0.0:
                powers[weight] = float(weight) ** exponent
            divisor[position] = powers[weight]


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
def rank_live(survey: Survey, memory: PlanMemory, plan: Decision) -> None:
    """Leave the positions of the live requests in `plan.ranked`, see `rank_by_priority`."""
    ranks, ranked = ranks_of(plan, survey.live), plan.ranked[: survey.live]
    places = memory.places.view(np.uint32)
    rank_by_priority(ranks, survey.running, memory.ranking, places, plan.scratch, ranked)


@compiled
def ranks_of(plan: Decision, live: int) -> Ranks:
    """What decides who of the live requests comes first."""
    return Ranks(plan.priority[:live], plan.facts[ARRIVAL_S][:live], plan.rows[:live])
