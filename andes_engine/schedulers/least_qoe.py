"""Least QoE first: whoever has the worst experience so far is served next, the greedy form of Andes' max-min objective.

Source: the max-min objective of Andes v2 (arXiv 2404.16283v2, known second-hand) serves the request that holds the minimum down.
The authors' repository has a `LeastQoEFirst` (vLLM fork, `vllm/core/andes_utils/lqf.py`), which despite its name ranks by QoE
*gain* with every length set to one block; this file is what the name says.

Deviations: QoE is the project's headline QoE, over the tokens delivered and one more that comes now. Without that token a request
that never got one would count as perfect and starve.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, best_case_qoe
from andes_engine.schedulers.score_view import ScoreView

PREEMPTIVE = True


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Minus the QoE of the response up to a next token delivered now, in [-1, 0]."""
    return -best_case_qoe(table, row, table.emitted_tokens[row] + 1, view.now_s)
