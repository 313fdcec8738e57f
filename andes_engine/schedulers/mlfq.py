"""FastServe's skip-join multi-level feedback queue (Wu et al., arXiv 2305.05920, section 4.1, Algorithm 1; NSDI '26).

A request enters at the highest level whose quantum holds its prefill (it skips the levels it would only be demoted through),
drops a level each time it uses up a quantum, and goes to the front of the top queue when it has starved. Within a level, oldest
first. Base quantum, ratio and starvation limit are those of the authors' code (LLMServe/FastServe, `fastserve/scheduler.py`).

Deviations: levels are computed from the service a request has had, at the current prices of a prefilled token and of an
iteration, instead of kept and profiled beforehand, so a level can move when the batch does. Starvation is looked for at every
decision instead of every 1000 iterations. A request that was preempted keeps the top level after its return for the quantum of
its entry level: without that a promoted request would lose its place in the very next iteration and only pay for recomputation,
which FastServe's swapping to host memory makes cheap. Proactive swapping is left out.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView, attained_s, out_of_service_s, seniority

PREEMPTIVE = True

BASE_QUANTUM_S = 0.010
"""Quantum of the top level; each level below has `QUANTUM_RATIO` times the one above."""

QUANTUM_RATIO = 2.0
STARVATION_S = 3.0
LEVELS = 32
"""Levels at most: the last has a quantum of eight months."""


@compiled
def entry_level(prefill_s: float) -> int:
    """Highest level (0 is the top) whose quantum is at least the time of the first iteration."""
    level, quantum_s = 0, BASE_QUANTUM_S
    while quantum_s < prefill_s and level < LEVELS - 1:
        level += 1
        quantum_s *= QUANTUM_RATIO
    return level


@compiled
def level_of(table: Requests, row: int, view: ScoreView) -> int:
    """Level after demotion: the quanta of all levels from entry down to it hold the service attained."""
    level = entry_level(table.prompt_tokens[row] * view.resume_s_per_token)
    quantum_s = BASE_QUANTUM_S * QUANTUM_RATIO**level
    left_s = attained_s(table, row, view) - quantum_s
    while left_s > 0.0 and level < LEVELS - 1:
        level += 1
        quantum_s *= QUANTUM_RATIO
        left_s -= quantum_s
    return level


@compiled
def is_promoted(table: Requests, row: int, is_running: bool, view: ScoreView) -> bool:
    """Whether a request has starved, or has just come back after a preemption."""
    if not is_running:
        return out_of_service_s(table, row, view) >= STARVATION_S
    entry = entry_level(table.prompt_tokens[row] * view.resume_s_per_token)
    stay_s = BASE_QUANTUM_S * QUANTUM_RATIO**entry
    return table.preemptions[row] > 0 and view.now_s - table.admitted_s[row] < stay_s


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Minus the level, 1 for the front of the top queue; within a level the oldest first."""
    promoted = is_promoted(table, row, is_running, view)
    return seniority(table, row, view) + (1.0 if promoted else -level_of(table, row, view))
