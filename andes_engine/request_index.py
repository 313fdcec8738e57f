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
from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import Decision
from andes_engine.request import Requests, context_tokens, next_due_s, qoe_so_far

FloatArray = NDArray[np.float64]

SIZE, REMAINING, RESUME, OVERDUE, AHEAD, AGE, EMITTED, UNSEEN, PREEMPTED, PACE, LAG = range(11)
"""Places of the features, in the order of `knobs.INDEX_KNOBS`."""

_COUNT = len(kn.INDEX_KNOBS)
_MOST = 30.0
"""A factor stays between exp(-30) and exp(30)."""


@compiled
def feature(kind: int, table: Requests, row: int, now_s: float, resume_s: float) -> float:
    """One feature of a live request; units in `knobs.INDEX_KNOBS`."""
    if kind == SIZE:
        return math.log2(context_tokens(table, row) / 1024.0) / 4.0
    if kind == REMAINING:
        remaining = table.remaining_tokens[row]
        return math.log2(max(remaining, 1.0) / 256.0) / 4.0 if remaining > 0.0 else 0.0  # false for NaN: nobody knows
    if kind == RESUME:
        return math.log1p(resume_s)
    if kind == OVERDUE:
        return math.log1p(max(now_s - next_due_s(table, row), 0.0)) / 3.0
    if kind == AHEAD:
        return math.log1p(max(next_due_s(table, row) - now_s, 0.0)) / 3.0
    if kind == AGE:
        return math.log1p(max(now_s - table.arrival_s[row], 0.0)) / 5.0
    if kind == EMITTED:
        return math.log2(1.0 + table.emitted_tokens[row]) / 8.0
    if kind == UNSEEN:
        return 1.0 if table.emitted_tokens[row] == 0 else 0.0
    if kind == PREEMPTED:
        return math.log2(1.0 + table.preemptions[row])
    if kind == PACE:
        return math.log2(0.2 / table.latency_s[row])
    return 1.0 - qoe_so_far(table, row)


@compiled_into_caller
def weigh(table: Requests, live: int, now_s: float, knobs: FloatArray, plan: Decision) -> bool:
    """Leave each live request's factor in `plan.factor`; False, and nothing left, if all weights are 0."""
    weighted = False
    for kind in range(_COUNT):
        weight = knobs[kn.INDEX + kind]
        if weight == 0.0:
            continue
        for position in range(live):
            before = plan.factor[position] if weighted else 0.0
            row = plan.rows[position]
            plan.factor[position] = before + weight * feature(kind, table, row, now_s, plan.resume_s[position])
        weighted = True
    for position in range(live if weighted else 0):
        plan.factor[position] = math.exp(min(max(plan.factor[position], -_MOST), _MOST))
    return weighted
