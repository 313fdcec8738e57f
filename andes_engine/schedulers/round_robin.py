"""Round robin, the second baseline of Andes v1 (arXiv 2404.16283v1, section 6.1): equal service by cyclic preemption.

A running request keeps its place for one quantum after its admission and then goes to the end of the queue. The paper's service
interval is 50 inference iterations, the value it found best for QoE (known to us second-hand: the copy of the paper at hand ends
before that section).

Deviations: the interval is counted in time, 50 iterations of the predicted length, because a score sees a clock and no iteration
number. A request whose quantum is over gives way only to somebody who waits; while there is room for all it runs on.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView, out_of_service_s

PREEMPTIVE = True

QUANTUM_ITERATIONS = 50
"""Iterations a request runs before its turn is over."""

_IN_TURN_S = 1.0e9
"""Lifts requests in their turn above every wait."""


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Those in their turn, then those who wait, longest first, then those whose turn is over, longest over last."""
    if not is_running:
        return out_of_service_s(table, row, view)
    left_s = QUANTUM_ITERATIONS * view.token_latency_s - (view.now_s - table.admitted_s[row])
    return _IN_TURN_S + left_s if left_s > 0.0 else left_s
