"""Least slack first, the QoE-aware baseline of Andes v2 (arXiv 2404.16283v2, evaluation; known second-hand).

Slack is the time until the reader runs out of text. A reader who was kept waiting reads on from where they are, so lag already
suffered gives no claim to be served earlier.

Deviations: the authors' code (`QoETracker.get_slack`) measures slack against the timeline expected at arrival, which never moves;
that order is `deadline.py` here. The two differ by exactly the lag the reader has suffered.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, next_due_s
from andes_engine.schedulers.score_view import ScoreView

PREEMPTIVE = True


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Minus the slack, s: negative while text is buffered, positive once the reader waits."""
    return view.now_s - next_due_s(table, row)
