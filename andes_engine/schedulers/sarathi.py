"""Sarathi-Serve: chunked prefill with stall-free batching (Agrawal et al., OSDI '24, arXiv 2403.02310, Algorithm 3).

An iteration first takes every decode, then prefills already begun, then new ones, until a token budget is spent; no decode waits
for somebody's prompt. Requests are admitted first come, first served. vLLM V1's scheduler already works this way, so what is left
of Sarathi-Serve is its order and its smaller budget: under this scheduler, `TOKEN_BUDGET` is to cap an iteration's tokens.

Deviations: the paper profiles the budget for each model and latency target, 512 under its strict and 2048 under its relaxed
targets; here it is the strict one.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView

PREEMPTIVE = False

TOKEN_BUDGET = 512
"""Tokens per iteration, decodes and prefill chunks together."""


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Age, s: first come, first served."""
    return view.now_s - table.arrival_s[row]
