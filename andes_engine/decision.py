"""THE scheduling decision: (live requests, engine view, scheduler, knobs) -> who is admitted, preempted, and in which order.

One compiled function, called by the simulator at every iteration and by the vLLM scheduler before every `schedule()`. What it
decides is applied by the engine's own mechanics; it never moves a request itself.

Steps (Andes section 4): trigger -> gain per request at each batch size worth trying -> greedy knapsack -> overhead-aware walk
over the newcomers (paper v2's refiner): each gets room from the smallest set of lowest-priority victims, if its gain exceeds
theirs by the gate and exceeds what everyone running loses during the stall it causes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.engine import EngineView
from andes_engine.knapsack import largest_batch, pack
from andes_engine.request import Requests, context_tokens
from andes_engine.schedulers import FCFS
from andes_engine.schedulers.andes import delay_cost
from andes_engine.step_time import prefill_seconds, step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

N_PREEMPT, N_ADMIT, N_ORDER, GATED, TOKEN_BUDGET, PLANNED = range(6)
"""Fields of `Plan.head`. GATED 0: every waiting request may be admitted, in the engine's order, and `order` is empty."""

_BATCH_SIZES = 4
"""Batch sizes tried between B_min and B_max, geometrically spaced."""


class Plan(NamedTuple):
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


def empty_plan(max_num_seqs: int, rows: int) -> Plan:
    """Buffers for a decision over at most `rows` live requests."""
    ints = [np.zeros(size, dtype=np.int64) for size in (6, max_num_seqs, rows, max_num_seqs)]
    flags = [np.zeros(rows, dtype=np.bool_) for _ in range(3)]
    return Plan(*ints, np.zeros(rows), np.zeros(rows), np.zeros(rows, dtype=np.int64), *flags)


@njit(cache=True)
def decide(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Plan,
) -> None:
    """Decide on one iteration.

    Args:
        table: Live requests.
        running: Rows of running requests in the engine's order. Shape (r,).
        waiting: Rows of waiting requests that may be admitted, in the engine's order. Shape (w,).
        view: Engine state and limits.
        scheduler: Number from `schedulers.SCHEDULERS`.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        plan: Receives the decision.
    """
    head = plan.head
    head[:] = 0
    head[TOKEN_BUDGET] = view.max_batched_tokens
    if scheduler == FCFS:
        return
    head[TOKEN_BUDGET] = _token_budget(table, running, view, knobs)
    if len(running) + len(waiting) == 0:
        return
    if not _contended(table, running, waiting, view, knobs, step_time):
        return
    rows = np.concatenate((running, waiting))
    head[GATED] = 1
    head[PLANNED] = 1
    _choose(table, rows, len(running), view, knobs, step_time, plan)
    by_priority = np.argsort(-plan.priority[: len(rows)], kind="mergesort")
    _admit(table, rows, len(running), by_priority, view, knobs, step_time, plan)
    _order_running(table, rows, len(running), by_priority, plan)


@njit(cache=True, inline="always")
def blocks_for(tokens: int, block_size_tokens: int) -> int:
    """KV blocks that hold `tokens`."""
    return (tokens + block_size_tokens - 1) // block_size_tokens


@njit(cache=True, inline="always")
def _blocks_wanted(table: Requests, row: int, view: EngineView) -> int:
    """Blocks for the sequence as it is plus one to grow into, so that vLLM need not preempt by itself soon."""
    return blocks_for(context_tokens(table, row), view.block_size_tokens) + 1


@njit(cache=True, inline="always")
def _missing_tokens(table: Requests, row: int) -> int:
    """Tokens whose KV must be computed before the next token comes out."""
    return max(context_tokens(table, row) - table.computed_tokens[row], 1)


@njit(cache=True)
def _token_budget(table: Requests, running: IntArray, view: EngineView, knobs: FloatArray) -> int:
    decodes = 0
    for row in running:
        if _missing_tokens(table, row) == 1:
            decodes += 1
    return min(view.max_batched_tokens, decodes + int(round(knobs[kn.PREFILL_TOKENS_PER_STEP])))


@njit(cache=True)
def _contended(
    table: Requests, running: IntArray, waiting: IntArray, view: EngineView, knobs: FloatArray, step_time: FloatArray
) -> bool:
    """Selective triggering: requests compete if serving all would pass the KV watermark, the batch cap or a reader's pace."""
    live = len(running) + len(waiting)
    if live > min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP]))):
        return True
    wanted, context, strictest_s = 0, 0, np.inf
    for group in (running, waiting):
        for row in group:
            wanted += _blocks_wanted(table, row, view)
            context += context_tokens(table, row)
            strictest_s = min(strictest_s, table.latency_s[row])
    if wanted > knobs[kn.KV_WATERMARK] * view.kv_blocks:
        return True
    return step_seconds(step_time, 0, live, context, 0) > strictest_s


@njit(cache=True)
def _choose(
    table: Requests, rows: IntArray, running: int, view: EngineView, knobs: FloatArray, step_time: FloatArray, plan: Plan
) -> None:
    """Leave in `plan` the gain, priority and choice at the batch size with the largest total gain."""
    n = len(rows)
    context, strictest_s = 0, np.inf
    for position in range(n):
        plan.weight_blocks[position] = _blocks_wanted(table, rows[position], view)
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
    plan: Plan,
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


@njit(cache=True, inline="always")
def _resume_seconds(table: Requests, row: int, view: EngineView, step_time: FloatArray, token_latency_s: float) -> float:
    """Time until the next token if served now: one iteration, or the prefill of what is missing."""
    missing = _missing_tokens(table, row)
    if missing == 1:
        return token_latency_s
    return prefill_seconds(step_time, missing, view.max_batched_tokens)


@njit(cache=True)
def _admit(
    table: Requests,
    rows: IntArray,
    running: int,
    by_priority: IntArray,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Plan,
) -> None:
    """Walk the newcomers by priority: admit into free room, or into room made by preempting, or stop."""
    head = plan.head
    plan.victim[: len(rows)] = False
    cap = min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))
    slots = cap - running
    free = view.free_blocks - int(knobs[kn.KV_RESERVE] * view.kv_blocks)
    for position in range(running):
        free -= max(plan.weight_blocks[position] - table.held_blocks[rows[position]], 0)
    for position in by_priority:
        if position < running or not plan.chosen[position]:
            continue
        if head[N_ADMIT] >= int(round(knobs[kn.ADMISSION_LIMIT])):
            break
        need = plan.weight_blocks[position]
        if slots < 1 or free < need:
            freed, victims = _make_room(
                table, rows, running, by_priority, position, need - free, slots < 1, view, knobs, step_time, plan
            )
            if victims == 0:
                break
            free += freed
            slots += victims
        plan.admit[head[N_ADMIT]] = rows[position]
        head[N_ADMIT] += 1
        free -= need
        slots -= 1
    if running == head[N_PREEMPT] and head[N_ADMIT] == 0 and len(rows) > running:
        _admit_one(rows, running, by_priority, plan)


@njit(cache=True)
def _admit_one(rows: IntArray, running: int, by_priority: IntArray, plan: Plan) -> None:
    """Progress guarantee: an engine with nothing running opens its first waiting request."""
    for position in by_priority:
        if position >= running:
            plan.admit[0] = rows[position]
            plan.head[N_ADMIT] = 1
            return


@njit(cache=True)
def _make_room(
    table: Requests,
    rows: IntArray,
    running: int,
    by_priority: IntArray,
    newcomer: int,
    missing_blocks: int,
    needs_slot: bool,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Plan,
) -> tuple[int, int]:
    """Preempt the fewest lowest-priority requests outside the packed batch, if the newcomer is worth it.

    Returns:
        Blocks freed and victims taken; (0, 0) if room cannot be made, or is not worth what it costs.
    """
    head = plan.head
    budget = int(round(knobs[kn.PREEMPTION_BUDGET])) - head[N_PREEMPT]
    cap = int(round(knobs[kn.PREEMPTION_CAP]))
    freed, victims, victims_gain, recompute_tokens = 0, 0, 0.0, 0
    start = head[N_PREEMPT]
    for back in range(len(by_priority) - 1, -1, -1):
        if (freed >= missing_blocks and (victims > 0 or not needs_slot)) or victims == budget:
            break
        position = by_priority[back]
        row = rows[position]
        if position >= running or plan.chosen[position] or plan.victim[position] or table.preemptions[row] >= cap:
            continue
        plan.preempt[start + victims] = row
        plan.victim[position] = True
        victims += 1
        freed += max(plan.weight_blocks[position], table.held_blocks[row])
        victims_gain += plan.gain[position]
        recompute_tokens += table.computed_tokens[row]
    enough = victims > 0 and freed >= missing_blocks
    if enough and plan.gain[newcomer] > knobs[kn.PREEMPTION_GATE] * victims_gain:
        stall_tokens = recompute_tokens + _missing_tokens(table, rows[newcomer])
        stall_s = prefill_seconds(step_time, stall_tokens, view.max_batched_tokens)
        if plan.gain[newcomer] > _stall_loss(table, rows, running, stall_s, view, knobs, step_time, plan):
            head[N_PREEMPT] += victims
            return freed, victims
    _release(rows, running, start, victims, plan)
    return 0, 0


@njit(cache=True)
def _release(rows: IntArray, running: int, start: int, victims: int, plan: Plan) -> None:
    """Take back victims that were only tried."""
    for position in range(running):
        for index in range(start, start + victims):
            if plan.preempt[index] == rows[position]:
                plan.victim[position] = False


@njit(cache=True)
def _stall_loss(
    table: Requests,
    rows: IntArray,
    running: int,
    stall_s: float,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Plan,
) -> float:
    """QoE that the running requests lose while the engine recomputes: paper v2's overhead-aware refiner."""
    token_latency_s = step_seconds(step_time, 0, running, 0, 0)
    loss = 0.0
    for position in range(running):
        if not plan.victim[position]:
            start_s = view.now_s + token_latency_s
            loss += delay_cost(
                table,
                rows[position],
                start_s,
                stall_s,
                token_latency_s,
                knobs[kn.HORIZON_S],
                knobs[kn.SUNK_LAG_WEIGHT],
            )
    return loss


@njit(cache=True)
def _order_running(table: Requests, rows: IntArray, running: int, by_priority: IntArray, plan: Plan) -> None:
    """Decodes by falling priority, then prefills: budget goes to readers first, and vLLM's emergency victim is the last."""
    count = 0
    for prefilling in (False, True):
        for position in by_priority:
            if position < running and not plan.victim[position]:
                if (_missing_tokens(table, rows[position]) > 1) == prefilling:
                    plan.order[count] = rows[position]
                    count += 1
    plan.head[N_ORDER] = count
