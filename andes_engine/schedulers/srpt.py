"""Shortest remaining processing time first (Schrage, Operations Research 1968), on expected output lengths.

SRPT minimises the mean completion time on one machine when lengths are known. Work is the time a request still needs: prefill of
what is missing at the price of a prefilled token, and one iteration for each output token still expected (`remaining_tokens`,
from whatever length source the engine runs with).

Without an expectation (NaN) a request falls back to the foreground-background order, least attained service first (Kleinrock,
Queueing Systems II, 1976), which needs no lengths: its attained service stands in for its remaining work.
Where some lengths are known and others not, both kinds are compared in seconds.

Deviations: one machine becomes a batch, whose members do not slow each other down in this estimate, and an expectation is not
the length.
"""

from __future__ import annotations

import numpy as np

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView, attained_s, prefill_left_s

PREEMPTIVE = True


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Minus the work still expected, s; minus the service attained where no length is known."""
    if np.isnan(table.remaining_tokens[row]):
        return -attained_s(table, row, view)
    return -(prefill_left_s(table, row, view) + table.remaining_tokens[row] * view.token_latency_s)
