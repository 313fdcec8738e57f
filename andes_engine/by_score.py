"""Packing for schedulers that only rank: the best-ranked requests get memory while it lasts, the others make room.

No gain is traded against another here, so the preemption gate and the refiner of Andes do not apply; a rival's own rules are
in its score. Cap and budget of preemptions do: without them every order that changes from iteration to iteration drowns in
recomputation, and a comparison would measure that instead of the order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.admission import free_for_newcomers, open_one, owes_too_much
from andes_engine.batch_choice import batch_limit, rank_live, ranks_of
from andes_engine.compile_cache import compiled_into_caller
from andes_engine.decision_buffers import N_ADMIT, N_PREEMPT, Decision
from andes_engine.engine import EngineView
from andes_engine.plan_memory import PlanMemory
from andes_engine.ranking import comes_before
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView
from andes_engine.schedulers.scoring import may_preempt, score_of
from andes_engine.step_time import prefill_seconds, step_seconds
from andes_engine.survey import Survey
from andes_engine.turns import preemption_cap

FloatArray = NDArray[np.float64]

_PRICED_TOKENS = 256
"""A typical prompt: the price of prefilling one token is taken from prefilling this many."""


@compiled_into_caller
def plan_by_score(
    table: Requests,
    survey: Survey,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    memory: PlanMemory,
    plan: Decision,
) -> None:
    """Score, rank, choose while it fits, admit the chosen, preempt as many of the others as they need."""
    n, running = survey.live, survey.running
    mean_context = survey.context_tokens // max(n, 1)
    latency_s = step_seconds(step_time, 0, running, running * mean_context, 0, 0)
    per_token_s = prefill_seconds(step_time, _PRICED_TOKENS, view.max_batched_tokens) / _PRICED_TOKENS
    look = ScoreView(view.now_s, latency_s, per_token_s, memory.user_service)
    for position in range(n):
        plan.priority[position] = score_of(scheduler, table, plan.rows[position], position < running, look)
    rank_live(survey, memory, plan)
    _choose(survey, view, knobs, may_preempt(scheduler), plan)
    _admit_chosen(table, survey, view, knobs, step_time, may_preempt(scheduler), plan)
    open_one(survey, plan)


@compiled_into_caller
def _choose(survey: Survey, view: EngineView, knobs: FloatArray, preemptive: bool, plan: Decision) -> None:
    """Keep the best-ranked while they fit. The first newcomer that does not fit shuts the door on worse-ranked newcomers.

    Where nobody is preempted, the running requests come first.
    """
    room, slots, door = view.kv_blocks, batch_limit(view, knobs), True
    plan.victim[: survey.live] = False
    for position in range(survey.live):
        plan.chosen[position] = position < survey.running and not preemptive
        if plan.chosen[position]:
            room -= plan.weight_blocks[position]
            slots -= 1
    ranks, first, second = ranks_of(plan, survey.live), 0, survey.running
    while first < survey.running or second < survey.live:
        if second == survey.live or (
            first < survey.running and comes_before(ranks, plan.ranked[first], plan.ranked[second])
        ):
            position = plan.ranked[first]
            first += 1
        else:
            position = plan.ranked[second]
            second += 1
        if plan.chosen[position]:
            continue
        fits = slots > 0 and plan.weight_blocks[position] <= room
        if position >= survey.running and not (door and fits):
            door = False
        elif fits:
            plan.chosen[position] = True
            room -= plan.weight_blocks[position]
            slots -= 1


@compiled_into_caller
def _admit_chosen(
    table: Requests,
    survey: Survey,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    preemptive: bool,
    plan: Decision,
) -> None:
    """Admit chosen newcomers best first; each takes free room, then that of unchosen running requests, worst first."""
    head, running = plan.head, survey.running
    slots = batch_limit(view, knobs) - running
    budget, cap = int(round(knobs[kn.PREEMPTION_BUDGET])), preemption_cap(survey, knobs, step_time)
    free = free_for_newcomers(survey, view, knobs)
    worst, owed_tokens = running - 1 if preemptive else -1, survey.owed_tokens
    for place in range(running, survey.live):
        position = plan.ranked[place]
        if not plan.chosen[position]:
            continue
        if owes_too_much(owed_tokens, view, knobs, step_time):
            return
        need = plan.weight_blocks[position]
        while (free < need or slots < 1) and worst >= 0 and head[N_PREEMPT] < budget:
            victim = plan.ranked[worst]
            worst -= 1
            if not plan.chosen[victim] and table.preemptions[plan.rows[victim]] < cap:
                plan.victim[victim] = True
                plan.preempt[head[N_PREEMPT]] = plan.rows[victim]
                head[N_PREEMPT] += 1
                free += max(plan.weight_blocks[victim], table.held_blocks[plan.rows[victim]])
                slots += 1
        if free < need or slots < 1 or head[N_ADMIT] >= int(round(knobs[kn.ADMISSION_LIMIT])):
            return
        plan.admit[head[N_ADMIT]] = plan.rows[position]
        head[N_ADMIT] += 1
        free -= need
        slots -= 1
        owed_tokens += plan.missing[position]
