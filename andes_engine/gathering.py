"""Prefill gathered into few iterations: the knob `prefill_gather_s`.

Not in the paper. An iteration with any prefill decodes more slowly than one without: vLLM cannot run all of it as one CUDA graph,
and each sequence of a mixed batch costs more (on an H200 .13 ms instead of .03, docs/gpu_run.json). A scheduler that lets in
whoever may come at every iteration makes all of them mixed. So where that costs something, those who come soon after others wait
until their prefill fills an iteration, or for as long as the knob says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.batch_choice import token_budget
from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import N_ADMIT, N_PREEMPT, Decision, resume_tokens
from andes_engine.engine import EngineView
from andes_engine.plan_memory import LET_IN_S
from andes_engine.request import Requests
from andes_engine.step_time import step_seconds
from andes_engine.survey import Survey

FloatArray = NDArray[np.float64]

_WORTH_AVOIDING = 1.02
"""Iterations that prefill makes longer by this factor at least; on a CPU it hardly slows those who decode."""


@compiled
def hold_back(
    table: Requests,
    survey: Survey,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    rhythm: FloatArray,
    plan: Decision,
) -> None:
    """Take the newcomers, and the preemptions made for them, out of a plan that had better wait."""
    head = plan.head
    if head[N_ADMIT] == 0:
        return
    if view.now_s >= rhythm[LET_IN_S] + knobs[kn.PREFILL_GATHER_S] or _may_as_well(
        table, survey, view, knobs, step_time, plan
    ):
        rhythm[LET_IN_S] = view.now_s
        return
    head[N_ADMIT] = head[N_PREEMPT] = 0
    plan.victim[: survey.live] = False


@compiled
def _may_as_well(
    table: Requests, survey: Survey, view: EngineView, knobs: FloatArray, step_time: FloatArray, plan: Decision
) -> bool:
    """Whether nobody decodes, somebody's prefill is in the iteration anyway, it slows nobody down, or theirs fills it."""
    head = plan.head
    decodes = survey.running - head[N_PREEMPT]
    if survey.owed_tokens > 0 or decodes == 0:
        return True
    context = survey.context_tokens * decodes // survey.live
    apart_s = step_seconds(step_time, 0, decodes, context, 0, 0)
    if step_seconds(step_time, 1, decodes, context, 1, 0) <= _WORTH_AVOIDING * apart_s:
        return True
    missing = token_budget(decodes, view, knobs) - decodes
    for place in range(head[N_ADMIT]):
        missing -= resume_tokens(table, plan.admit[place], view, step_time)
    return missing <= 0
