"""What each live request gains from being served now, at a batch size, and its priority: that value per KV block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled, compiled_for_many, compiled_into_caller
from andes_engine.decision_buffers import (
    DIVISOR,
    DUE_S,
    EMITTED,
    LAG_SUM_S,
    LATE_S,
    LATENCY_S,
    REMAINING,
    Decision,
)
from andes_engine.engine import EngineView
from andes_engine.ranking import ZERO
from andes_engine.schedulers import ANDES_MAX_MIN, ANDES_PERFECT
from andes_engine.schedulers.andes import TIE_BREAK, delay_cost, max_min_value, perfect_value, project
from andes_engine.step_time import step_seconds
from andes_engine.survey import Survey, horizon_seconds, standing_at

FloatArray = NDArray[np.float64]

_TOGETHER = np.uint64(16)
"""Requests looked at together; unsigned as in `ranking`."""


@compiled
def score(
    survey: Survey,
    view: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    batch: int,
    indexed: bool,
    plan: Decision,
) -> None:
    """Leave in `plan` the value of serving each request, and its priority.

    Args:
        survey: The live requests.
        view: Engine state and limits.
        scheduler: Number of one of Andes' forms.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        batch: Sequences that would run.
        indexed: Whether `plan.factor` counts.
        plan: Has the prices of resuming, and what gains are divided by.
    """
    n, running = survey.live, survey.running
    token_latency_s = step_seconds(step_time, 0, batch, int(batch * survey.context_tokens / n), 0, 0)
    horizon_s, sunk = horizon_seconds(survey, knobs), knobs[kn.SUNK_LAG_WEIGHT]
    gain, resume_s, divisor = plan.gain[:n], plan.resume_s[:n], plan.facts[DIVISOR]
    if token_latency_s <= survey.strictest_s:
        gains_in_pace(view.now_s, token_latency_s, horizon_s, sunk, resume_s, plan.facts, gain)
    else:
        for position in range(n):
            start_s = view.now_s + max(resume_s[position], token_latency_s)
            stands = standing_at(plan, position)
            gain[position] = delay_cost(stands, start_s, horizon_s, token_latency_s, horizon_s, sunk)
    if scheduler in (ANDES_MAX_MIN, ANDES_PERFECT):
        _other_objective(survey, view, scheduler, horizon_s, token_latency_s, plan)
    for position in range(n if indexed else 0):
        gain[position] *= plan.factor[position]
    _divide(gain[:running], divisor, knobs[kn.RUNNING_BONUS], plan.priority)
    _divide(gain[running:], divisor[running:], 1.0, plan.priority[running:])


@compiled_for_many
def gains_in_pace(
    now_s: float,
    token_latency_s: float,
    horizon_s: float,
    sunk_lag_weight: float,
    resume_s: FloatArray,
    facts: FloatArray,
    gain: FloatArray,
) -> None:
    """`delay_cost` of each by a horizon, to the bit, where tokens come at least as fast as anybody reads.

    Then lateness does not grow from token to token, which leaves no branches, and the processor takes several requests at a time.
    Divisions are most of the time; where all of `_TOGETHER` requests gain nothing, as readers far ahead do, there are none.

    Args:
        now_s: Time of the decision, engine clock.
        token_latency_s: Time between tokens; at most the pace of every reader.
        horizon_s: As in `project`; also the delay.
        sunk_lag_weight: As in `delay_cost`.
        resume_s: Price of resuming, s. Shape (n,).
        facts: See `Decision`. Shape (kinds, >= n).
        gain: Receives the result. Shape (n,).
    """
    latency, remaining, emitted = facts[LATENCY_S], facts[REMAINING], facts[EMITTED]
    due, late, lag_sum = facts[DUE_S], facts[LATE_S], facts[LAG_SUM_S]
    n = np.uint64(len(gain))
    for first in range(ZERO, n, _TOGETHER):
        end, waking = min(first + _TOGETHER, n), 0
        for index in range(first, end):
            start_s = now_s + max(resume_s[index], token_latency_s)
            waking += not start_s + horizon_s <= due[index]
            gain[index] = 0.0
        for index in range(first, end if waking > 0 else first):
            start_s = now_s + max(resume_s[index], token_latency_s)
            ahead = max(horizon_s / latency[index], 1.0)
            ahead = max(remaining[index], 1.0) if remaining[index] < ahead else ahead
            total = emitted[index] + ahead
            overdue_s = start_s - due[index]
            more_s = max(overdue_s + horizon_s, 0.0) if overdue_s < 0.0 else horizon_s
            added_s = ahead / total * more_s
            whole_s = total * latency[index] / 2.0
            served_s = whole_s
            if sunk_lag_weight > 0.0:
                past_s = lag_sum[index] + ahead * (late[index] + max(overdue_s, 0.0))
                served_s += sunk_lag_weight * (past_s / total)
            cost = whole_s * added_s / (served_s * (served_s + added_s))
            gain[index] = 0.0 if start_s + horizon_s <= due[index] else cost


@compiled_for_many
def _divide(gain: FloatArray, divisor: FloatArray, bonus: float, priority: FloatArray) -> None:
    n = np.uint64(len(gain))
    for first in range(ZERO, n, _TOGETHER):
        end, some = min(first + _TOGETHER, n), 0
        for index in range(first, end):
            some += gain[index] != 0.0
            priority[index] = 0.0
        for index in range(first, end if some > 0 else first):
            priority[index] = bonus * gain[index] / divisor[index]


@compiled_into_caller
def _other_objective(
    survey: Survey, view: EngineView, scheduler: int, horizon_s: float, token_latency_s: float, plan: Decision
) -> None:
    """Replace the average gain by the value of the objective; the worst QoE is that of the requests served from now on."""
    lowest = 1.0
    for position in range(survey.live):
        start_s = view.now_s + max(plan.resume_s[position], token_latency_s)
        ahead = project(standing_at(plan, position), start_s, horizon_s, token_latency_s, horizon_s)
        lowest = min(lowest, ahead.whole_s / (ahead.whole_s + ahead.sunk_s))
    for position in range(survey.live):
        start_s = view.now_s + max(plan.resume_s[position], token_latency_s)
        ahead = project(standing_at(plan, position), start_s, horizon_s, token_latency_s, horizon_s)
        value = max_min_value(lowest, ahead) if scheduler == ANDES_MAX_MIN else perfect_value(ahead)
        plan.gain[position] = value + TIE_BREAK * plan.gain[position]
