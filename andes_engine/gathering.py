"""Prefill gathered into few iterations: the knob `prefill_gather_s`.

Not in the paper. An iteration with any prefill decodes more slowly than one without: vLLM cannot run all of it as one CUDA graph,
and each sequence of a mixed batch costs more (on an H200 .13 ms instead of .03, docs/gpu_run.json). A scheduler that lets in
whoever may come at every iteration makes all of them mixed. So where that costs something, those who come soon after others wait
until their prefill fills an iteration, or for as long as the knob says, but no longer than it pays: until they have waited as
long, all together, as their prefill would hold up those who decode, all together. So are acknowledgements best delayed in TCP
(Dooly, Goldman and Scott 1998: at most twice the cost of whoever knows what will come). An engine with a few short requests then
waits for an instant, one with hundreds that decode for as long as the knob lets it.
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
    since_s = view.now_s - rhythm[LET_IN_S]
    if since_s >= knobs[kn.PREFILL_GATHER_S] or _may_as_well(table, survey, view, knobs, step_time, plan, since_s):
        rhythm[LET_IN_S] = view.now_s
        return
    head[N_ADMIT] = head[N_PREEMPT] = 0
    plan.victim[: survey.live] = False


@compiled
def _may_as_well(
    table: Requests,
    survey: Survey,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
    since_s: float,
) -> bool:
    """Whether nobody decodes, somebody's prefill is in the iteration anyway, theirs costs less than waiting, or it fills one."""
    head = plan.head
    decodes = survey.running - head[N_PREEMPT]
    if survey.owed_tokens > 0 or decodes == 0:
        return True
    context = survey.context_tokens * decodes // survey.live
    longer_s = step_seconds(step_time, 1, decodes, context, 1, 0) - step_seconds(step_time, 0, decodes, context, 0, 0)
    if head[N_ADMIT] * since_s >= decodes * longer_s:
        return True
    missing = token_budget(decodes, view, knobs) - decodes
    for place in range(head[N_ADMIT]):
        missing -= resume_tokens(table, plan.admit[place], view, step_time)
    return missing <= 0
