"""Earliest deadline first, the deadline being when the next token was due at arrival (Liu and Layland, JACM 1973, section 7).

EDF is optimal on one machine that can meet every deadline, and collapses in overload, where it serves those who are late most:
the reason QoE and SLO schedulers exist. Token i of a request is due at ``arrival + ttft + i * latency``, as in the authors'
`QoETracker.get_slack`.

Deviations: EDF is defined for one processor and known deadlines; here the earliest deadlines share a batch, and a request gets a
new deadline with every token.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView

PREEMPTIVE = True


@compiled
def deadline_s(table: Requests, row: int) -> float:
    """When the next token was due on the timeline expected at arrival, engine clock, s; lag does not move it."""
    return table.arrival_s[row] + table.ttft_s[row] + table.emitted_tokens[row] * table.latency_s[row]


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """How overdue the next token is, s; negative before its deadline."""
    return view.now_s - deadline_s(table, row)
