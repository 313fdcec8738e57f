"""The score of a request under a scheduler given by number: the one place where compiled code chooses between the rivals."""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers import (
    BUFFER_AWARE,
    DEADLINE,
    LEAST_QOE,
    LEAST_SLACK,
    MLFQ,
    OWN,
    ROUND_ROBIN,
    SRPT,
    VTC,
    buffer_aware,
    deadline,
    least_qoe,
    least_slack,
    mlfq,
    round_robin,
    srpt,
    vtc,
)
from andes_engine.schedulers.score_view import ScoreView

_round_robin, _least_qoe, _least_slack, _deadline = (
    round_robin.score,
    least_qoe.score,
    least_slack.score,
    deadline.score,
)
_buffer_aware, _mlfq, _vtc, _srpt = buffer_aware.score, mlfq.score, vtc.score, srpt.score

_RIVALS = {
    ROUND_ROBIN: round_robin,
    LEAST_QOE: least_qoe,
    LEAST_SLACK: least_slack,
    DEADLINE: deadline,
    BUFFER_AWARE: buffer_aware,
    MLFQ: mlfq,
    VTC: vtc,
    SRPT: srpt,
}
PREEMPTIVE = tuple(
    number == OWN or (number in _RIVALS and _RIVALS[number].PREEMPTIVE) for number in range(OWN, SRPT + 1)
)
"""By number, from OWN on: whether running requests make room for better-ranked ones."""


@compiled
def may_preempt(scheduler: int) -> bool:
    """Whether a scheduler that ranks takes memory from running requests."""
    return PREEMPTIVE[scheduler - OWN]


@compiled
def score_of(scheduler: int, table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Score, higher first; a user's own scheduler has left it in the table."""
    if scheduler == OWN:
        return table.score[row]
    if scheduler == ROUND_ROBIN:
        return _round_robin(table, row, is_running, view)
    if scheduler == LEAST_QOE:
        return _least_qoe(table, row, is_running, view)
    if scheduler == LEAST_SLACK:
        return _least_slack(table, row, is_running, view)
    if scheduler == DEADLINE:
        return _deadline(table, row, is_running, view)
    if scheduler == BUFFER_AWARE:
        return _buffer_aware(table, row, is_running, view)
    if scheduler == MLFQ:
        return _mlfq(table, row, is_running, view)
    if scheduler == VTC:
        return _vtc(table, row, is_running, view)
    if scheduler == SRPT:
        return _srpt(table, row, is_running, view)
    return -table.arrival_s[row]
