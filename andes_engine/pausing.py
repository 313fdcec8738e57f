"""The third verdict: a request far ahead of its reader keeps its KV cache but skips iterations that are too slow for others.

Frees compute, not memory. Not in the paper; it pays where the batch is compute-bound and a reader is strict.
While others wait for a place it harms: a paused request keeps its place longer, and small batches deliver fewer
tokens per second. So nobody is paused then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled, compiled_into_caller
from andes_engine.decision_buffers import N_PAUSED, Decision, missing_tokens
from andes_engine.engine import EngineView
from andes_engine.plan_memory import NOBODY_PAUSED
from andes_engine.request import Requests, context_tokens, next_due_s
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NEVER = kn.KNOBS[kn.PAUSE_THRESHOLD_TOKENS].high


@compiled
def tokens_ahead(table: Requests, row: int, now_s: float) -> float:
    """Tokens delivered that the reader has not come to yet; negative once the reader has run out."""
    return (next_due_s(table, row) - now_s) / table.latency_s[row]


@compiled_into_caller
def pause_those_ahead(
    table: Requests,
    running: IntArray,
    waiting: int,
    rhythm: FloatArray,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> None:
    """Set `paused` of every running request; never of all of them, so that the engine moves on.

    Args:
        table: Live requests.
        running: Rows of running requests. Shape (r,).
        waiting: Requests that wait for a place; with any, nobody is paused.
        rhythm: `PlanMemory.rhythm`: whether anybody may be paused from the last time, and from now on.
        view: Engine state and limits.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        plan: Its count of paused requests is raised.
    """
    if rhythm[NOBODY_PAUSED] == 0.0:
        for row in running:
            table.paused[row] = 0
    rhythm[NOBODY_PAUSED] = 1.0
    threshold = knobs[kn.PAUSE_THRESHOLD_TOKENS]
    if threshold >= _NEVER or len(running) < 2 or waiting > 0:
        return
    decodes, context, strictest_s = 0, 0, np.inf
    least, least_row = np.inf, running[0]
    for row in running:
        decodes += 1
        context += context_tokens(table, row)
        strictest_s = min(strictest_s, table.latency_s[row])
        ahead = tokens_ahead(table, row, view.now_s)
        if ahead < least:
            least, least_row = ahead, row
    if step_seconds(step_time, 0, decodes, context, 0, 0) <= strictest_s:
        return
    for row in running:
        if row != least_row and missing_tokens(table, row) == 1 and tokens_ahead(table, row, view.now_s) >= threshold:
            table.paused[row] = 1
            plan.head[N_PAUSED] += 1
            rhythm[NOBODY_PAUSED] = 0.0
