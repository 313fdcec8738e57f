"""The index: a factor on what serving a request is worth, log-linear in its features, with the knobs `index_*` as weights.

Andes' gain looks at QoE over a horizon and nothing else. What else may tell whom to serve (how much is left of a response, what
resuming costs, who has been preempted before) is for the index to weigh, by hand or by a policy. All weights 0, the default, is
Andes to the bit, and costs nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import Decision
from andes_engine.request import Requests, context_tokens, next_due_s, qoe_so_far

FloatArray = NDArray[np.float64]

SIZE, REMAINING, RESUME, OVERDUE, AHEAD, AGE, EMITTED, UNSEEN, PREEMPTED, PACE, LAG = range(11)
"""Places of the features, in the order of `knobs.INDEX_KNOBS`."""

_COUNT = len(kn.INDEX_KNOBS)
_MOST = 30.0
"""A factor stays between exp(-30) and exp(30)."""


_SIZE = np.array([0.0] + [math.log2(tokens / 1024.0) / 4.0 for tokens in range(1, 4096)])
_EMITTED = np.array([math.log2(1.0 + tokens) / 8.0 for tokens in range(2048)])
"""Features of the usual numbers of tokens: looking one up costs a fraction of its logarithm, and a plan wants every request's."""


@compiled
def feature(kind: int, table: Requests, row: int, now_s: float, resume_s: float) -> float:
    """One feature of a live request; units in `knobs.INDEX_KNOBS`."""
    if kind == SIZE:
        tokens = np.uint64(context_tokens(table, row))
        return _SIZE[tokens] if tokens < len(_SIZE) else math.log2(tokens / 1024.0) / 4.0
    if kind == REMAINING:
        remaining = table.remaining_tokens[row]
        return math.log2(max(remaining, 1.0) / 256.0) / 4.0 if remaining > 0.0 else 0.0  # false for NaN: nobody knows
    if kind == RESUME:
        return math.log1p(resume_s)
    if kind == OVERDUE:
        overdue_s = now_s - next_due_s(table, row)
        return math.log1p(overdue_s) / 3.0 if overdue_s > 0.0 else 0.0
    if kind == AHEAD:
        ahead_s = next_due_s(table, row) - now_s
        return math.log1p(ahead_s) / 3.0 if ahead_s > 0.0 else 0.0
    if kind == AGE:
        return math.log1p(max(now_s - table.arrival_s[row], 0.0)) / 5.0
    if kind == EMITTED:
        tokens = np.uint64(table.emitted_tokens[row])
        return _EMITTED[tokens] if tokens < len(_EMITTED) else math.log2(1.0 + tokens) / 8.0
    if kind == UNSEEN:
        return 1.0 if table.emitted_tokens[row] == 0 else 0.0
    if kind == PREEMPTED:
        return math.log2(1.0 + table.preemptions[row]) if table.preemptions[row] > 0 else 0.0
    if kind == PACE:
        return math.log2(0.2 / table.latency_s[row])
    return 1.0 - qoe_so_far(table, row)


@compiled
def weigh(table: Requests, live: int, now_s: float, knobs: FloatArray, plan: Decision) -> bool:
    """Leave each live request's factor in `plan.factor`; False, and nothing left, if all weights are 0.

    Kind by kind, written out: with `feature` in a loop over the kinds, the demo's environment steps a fifth slower at least.
    """
    weights = knobs[kn.INDEX : kn.INDEX + _COUNT]
    size, remaining, resume, overdue = weights[SIZE], weights[REMAINING], weights[RESUME], weights[OVERDUE]
    ahead, age, emitted, unseen = weights[AHEAD], weights[AGE], weights[EMITTED], weights[UNSEEN]
    preempted, pace, lag = weights[PREEMPTED], weights[PACE], weights[LAG]
    if not weights.any():
        return False
    last_resume_s, last_latency_s, resuming, paced = -1.0, -1.0, 0.0, 0.0
    for position in range(live):
        row, resume_s, total = plan.rows[position], plan.resume_s[position], 0.0
        if size != 0.0:
            total += size * feature(SIZE, table, row, now_s, resume_s)
        if remaining != 0.0:
            total += remaining * feature(REMAINING, table, row, now_s, resume_s)
        if resume != 0.0:
            if resume_s != last_resume_s:  # that of all who only decode is the same
                last_resume_s, resuming = resume_s, resume * feature(RESUME, table, row, now_s, resume_s)
            total += resuming
        if overdue != 0.0:
            total += overdue * feature(OVERDUE, table, row, now_s, resume_s)
        if ahead != 0.0:
            total += ahead * feature(AHEAD, table, row, now_s, resume_s)
        if age != 0.0:
            total += age * feature(AGE, table, row, now_s, resume_s)
        if emitted != 0.0:
            total += emitted * feature(EMITTED, table, row, now_s, resume_s)
        if unseen != 0.0:
            total += unseen * feature(UNSEEN, table, row, now_s, resume_s)
        if preempted != 0.0:
            total += preempted * feature(PREEMPTED, table, row, now_s, resume_s)
        if pace != 0.0:
            if table.latency_s[row] != last_latency_s:
                last_latency_s, paced = table.latency_s[row], pace * feature(PACE, table, row, now_s, resume_s)
            total += paced
        if lag != 0.0:
            total += lag * feature(LAG, table, row, now_s, resume_s)
        plan.factor[position] = math.exp(min(max(total, -_MOST), _MOST))
    return True
