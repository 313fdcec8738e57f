"""THE scheduling decision: (live requests, engine view, scheduler, knobs) -> who is admitted, paused, preempted, in which order.

One compiled function, called by the simulator at every iteration and by the vLLM scheduler before every `schedule()`. What it
decides is applied by the engine's own mechanics; it never moves a request itself.

Steps (Andes section 4): trigger -> gain per request at each batch size worth trying -> greedy knapsack -> overhead-aware walk
over the newcomers (paper v2's refiner): each gets room from the smallest set of lowest-priority victims, if its gain exceeds
theirs by the gate and exceeds what everyone running loses during the stall it causes. Rivals share the trigger and are packed by
rank (`by_score`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.admission import admit_newcomers, owes_too_much
from andes_engine.batch_choice import batch_limit, choose_batch, token_budget
from andes_engine.by_score import plan_by_score
from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import (
    GATED,
    N_ORDER,
    N_PREEMPT,
    PLANNED,
    RESERVE_BLOCKS,
    TOKEN_BUDGET,
    Decision,
    empty_decision,
    missing_tokens,
)
from andes_engine.engine import EngineView
from andes_engine.gathering import hold_back
from andes_engine.native import native
from andes_engine.pausing import pause_those_ahead
from andes_engine.plan_memory import GATE_SHUT, ITERATION, NEXT_PLAN_S, PlanMemory, empty_memory
from andes_engine.request import Requests, empty_requests
from andes_engine.schedulers import ANDES_EXACT, AUTHORS_CODE, FCFS, SARATHI
from andes_engine.schedulers.authors_code import plan_authors_code
from andes_engine.schedulers.sarathi import TOKEN_BUDGET as SARATHI_TOKEN_BUDGET
from andes_engine.step_time import STEP_TIME_SIZE, step_seconds
from andes_engine.survey import Survey, look_over

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def example() -> tuple[object, ...]:
    """One value for each argument of `decide`, from which its compiled form takes their types."""
    nobody = np.zeros(0, dtype=np.int64)
    view = EngineView(0.0, 0, 1, 1, 1, 1, 0, 0, 0.0)
    vectors = np.zeros(kn.KNOB_COUNT), np.zeros(STEP_TIME_SIZE)
    return empty_requests(1), nobody, nobody, view, FCFS, *vectors, empty_memory(1), empty_decision.py_func(1, 1)


@native(example)
def decide(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    memory: PlanMemory,
    plan: Decision,
) -> None:
    """Decide on one iteration. Between plans (knob `planning_period_s`) an open gate stays open and a shut one shut.

    Args:
        table: Live requests; receives their expected remaining length and whether they are paused.
        running: Rows of running requests in the engine's order. Shape (r,).
        waiting: Rows of waiting requests that may be admitted, in the engine's order. Shape (w,).
        view: Engine state and limits.
        scheduler: Number from `schedulers.SCHEDULERS`.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        memory: Kept from call to call (`plan_memory.empty_memory` at first).
        plan: Receives the decision.
    """
    head = plan.head
    head[:] = 0
    head[TOKEN_BUDGET] = view.max_batched_tokens
    if scheduler in (FCFS, SARATHI):
        head[RESERVE_BLOCKS] = int(knobs[kn.KV_RESERVE] * view.kv_blocks)
        if scheduler == SARATHI:
            head[TOKEN_BUDGET] = min(max(SARATHI_TOKEN_BUDGET, len(running)), view.max_batched_tokens)
        return
    head[TOKEN_BUDGET] = _token_budget(table, running, view, knobs)
    rhythm = memory.rhythm
    if len(running) > 0 and view.now_s < rhythm[NEXT_PLAN_S]:
        head[GATED] = int(rhythm[GATE_SHUT])
        return
    rhythm[NEXT_PLAN_S] = view.now_s + knobs[kn.PLANNING_PERIOD_S]
    rhythm[GATE_SHUT] = 0.0
    if len(running) + len(waiting) == 0:
        return
    if scheduler == AUTHORS_CODE:  # has its own trigger
        plan_authors_code(table, running, waiting, view, knobs, plan, int(rhythm[ITERATION]))
        rhythm[ITERATION] += 1.0
        rhythm[GATE_SHUT] = 1.0
        return
    survey = look_over(table, running, waiting, view, memory, plan)
    pause_those_ahead(table, running, len(waiting), rhythm, view, knobs, step_time, plan)
    if not contended(survey, view, knobs, step_time):
        return
    head[GATED] = 1
    head[PLANNED] = 1
    rhythm[GATE_SHUT] = 1.0
    if scheduler <= ANDES_EXACT:
        choose_batch(table, survey, view, scheduler, knobs, step_time, memory, plan)
        admit_newcomers(table, survey, view, knobs, step_time, plan)
    else:
        plan_by_score(table, survey, view, scheduler, knobs, step_time, memory, plan)
    if knobs[kn.PREFILL_GATHER_S] > 0.0:
        hold_back(table, survey, view, knobs, step_time, rhythm, plan)
    _order_running(survey, plan)


@compiled_into_caller
def _token_budget(table: Requests, running: IntArray, view: EngineView, knobs: FloatArray) -> int:
    if token_budget(0, view, knobs) == view.max_batched_tokens:  # however many decode
        return view.max_batched_tokens
    decodes = 0
    for row in running:
        if missing_tokens(table, row) == 1:
            decodes += 1
    return token_budget(decodes, view, knobs)


@compiled
def contended(survey: Survey, view: EngineView, knobs: FloatArray, step_time: FloatArray) -> bool:
    """Selective triggering: requests compete if serving all would pass the KV watermark, the batch cap or a reader's pace.

    Not in the paper: also if the prefill of all takes longer than the knob `prefill_backlog_s`. An engine with memory to spare
    can be short of compute, and then it is the order of prefills that decides whose answer begins in time.
    """
    if survey.live > batch_limit(view, knobs):
        return True
    if survey.wanted_blocks > knobs[kn.KV_WATERMARK] * view.kv_blocks:
        return True
    if owes_too_much(survey.owed_tokens + survey.queued_tokens, view, knobs, step_time):
        return True
    return step_seconds(step_time, 0, survey.live, survey.context_tokens, 0, 0) > survey.strictest_s


@compiled_into_caller
def _order_running(survey: Survey, plan: Decision) -> None:
    """Decodes by falling priority, then prefills: budget goes to readers first, and vLLM's emergency victim is the last."""
    if survey.owed_tokens == 0 and plan.head[N_PREEMPT] == 0:  # all of them stay and decode
        for place in range(survey.running):
            plan.order[place] = plan.rows[plan.ranked[place]]
        plan.head[N_ORDER] = survey.running
        return
    count, prefills = 0, 0
    for place in range(survey.running):
        position = plan.ranked[place]
        stays, decodes = not plan.victim[position], plan.missing[position] == 1
        plan.order[count] = plan.rows[position]  # overwritten by the next one unless counted: faster than a branch
        count += stays & decodes
        prefills += stays & (not decodes)
    for place in range(survey.running if prefills > 0 else 0):
        position = plan.ranked[place]
        if not plan.victim[position] and plan.missing[position] > 1:
            plan.order[count] = plan.rows[position]
            count += 1
    plan.head[N_ORDER] = count
