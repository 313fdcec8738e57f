"""THE scheduling decision: (live requests, engine view, scheduler, knobs) -> who is admitted, preempted, and in which order.

One compiled function, called by the simulator at every iteration and by the vLLM scheduler before every `schedule()`. What it
decides is applied by the engine's own mechanics; it never moves a request itself.

Steps (Andes section 4): trigger -> gain per request at each batch size worth trying -> greedy knapsack -> overhead-aware walk
over the newcomers (paper v2's refiner): each gets room from the smallest set of lowest-priority victims, if its gain exceeds
theirs by the gate and exceeds what everyone running loses during the stall it causes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.admission import admit_newcomers
from andes_engine.batch_choice import choose_batch
from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import (
    GATED,
    N_ORDER,
    PLANNED,
    RESERVE_BLOCKS,
    TOKEN_BUDGET,
    Decision,
    blocks_wanted,
    missing_tokens,
)
from andes_engine.engine import EngineView
from andes_engine.request import Requests, context_tokens
from andes_engine.schedulers import FCFS
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEXT_PLAN_S, GATE_SHUT = range(2)
"""Fields of `rhythm`."""


@compiled
def decide(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    rhythm: FloatArray,
    plan: Decision,
) -> None:
    """Decide on one iteration. Between plans (knob `planning_period_s`) an open gate stays open and a shut one shut.

    Args:
        table: Live requests.
        running: Rows of running requests in the engine's order. Shape (r,).
        waiting: Rows of waiting requests that may be admitted, in the engine's order. Shape (w,).
        view: Engine state and limits.
        scheduler: Number from `schedulers.SCHEDULERS`.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        rhythm: When to plan next and whether the gate is shut, kept from call to call; zeros at first. Shape (2,).
        plan: Receives the decision.
    """
    head = plan.head
    head[:] = 0
    head[TOKEN_BUDGET] = view.max_batched_tokens
    if scheduler == FCFS:
        head[RESERVE_BLOCKS] = int(knobs[kn.KV_RESERVE] * view.kv_blocks)
        return
    head[TOKEN_BUDGET] = _token_budget(table, running, view, knobs)
    if len(running) > 0 and view.now_s < rhythm[NEXT_PLAN_S]:
        head[GATED] = int(rhythm[GATE_SHUT])
        return
    rhythm[NEXT_PLAN_S] = view.now_s + knobs[kn.PLANNING_PERIOD_S]
    rhythm[GATE_SHUT] = 0.0
    if len(running) + len(waiting) == 0:
        return
    if not _contended(table, running, waiting, view, knobs, step_time):
        return
    rows = np.concatenate((running, waiting))
    head[GATED] = 1
    head[PLANNED] = 1
    rhythm[GATE_SHUT] = 1.0
    by_priority = choose_batch(table, rows, len(running), view, knobs, step_time, plan)
    admit_newcomers(table, rows, len(running), by_priority, view, knobs, step_time, plan)
    _order_running(table, rows, len(running), by_priority, plan)


@compiled
def _token_budget(table: Requests, running: IntArray, view: EngineView, knobs: FloatArray) -> int:
    decodes = 0
    for row in running:
        if missing_tokens(table, row) == 1:
            decodes += 1
    return min(view.max_batched_tokens, decodes + int(round(knobs[kn.PREFILL_TOKENS_PER_STEP])))


@compiled
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
            wanted += blocks_wanted(table, row, view)
            context += context_tokens(table, row)
            strictest_s = min(strictest_s, table.latency_s[row])
    if wanted > knobs[kn.KV_WATERMARK] * view.kv_blocks:
        return True
    return step_seconds(step_time, 0, live, context, 0) > strictest_s


@compiled
def _order_running(table: Requests, rows: IntArray, running: int, by_priority: IntArray, plan: Decision) -> None:
    """Decodes by falling priority, then prefills: budget goes to readers first, and vLLM's emergency victim is the last."""
    count = 0
    for prefilling in (False, True):
        for position in by_priority:
            if position >= running or plan.victim[position]:
                continue
            if (missing_tokens(table, rows[position]) > 1) == prefilling:
                plan.order[count] = rows[position]
                count += 1
    plan.head[N_ORDER] = count
