"""TokenFlow: buffer-aware preemption (Chen et al., EuroSys '26, arXiv 2510.02758).

The paper ranks requests by "real-time token buffer occupancy and token consumption rate" (abstract) and lets a running request go
when what its reader has buffered covers evicting and loading it again (working-set rule, known second-hand). Four ranks:

| rank | request | why |
|---|---|---|
| 3 | running, buffer does not cover a switch | evicting it would stall its reader |
| 2 | waiting, buffer does not cover loading it | a reader starves, or will before it is loaded |
| 1 | running, buffer covers a switch | evictable, but not worth evicting for rank 0 |
| 0 | waiting, buffer covers loading it | nothing is lost by waiting |

Within a rank the emptiest buffer comes first; a reader who has run out has a negative buffer.

Deviations: a victim is recomputed, so eviction is free and loading is a prefill plus one iteration (the paper writes KV through
to host memory and loads it back). Buffers are compared in seconds of reading, occupancy over rate. A request without a token has
an empty buffer from its arrival on, whatever its expected time to first token. The paper's rate control is left out.
"""

from __future__ import annotations

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, context_tokens, next_due_s
from andes_engine.schedulers.score_view import ScoreView, prefill_left_s

PREEMPTIVE = True

RANK_S = 1.0e6
"""Distance between ranks: more than any buffer or any wait."""


@compiled
def buffered_s(table: Requests, row: int, now_s: float) -> float:
    """Text the reader still has, in seconds of reading; negative once they wait, and never positive before the first token."""
    left_s = next_due_s(table, row) - now_s
    return min(left_s, 0.0) if table.emitted_tokens[row] == 0 else left_s


@compiled
def switch_s(table: Requests, row: int, view: ScoreView) -> float:
    """Time to evict a running request and have its next token after loading it again, s."""
    return context_tokens(table, row) * view.resume_s_per_token + view.token_latency_s


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Rank, then the emptiest buffer first."""
    left_s = buffered_s(table, row, view.now_s)
    if is_running:
        rank = 3 if left_s < switch_s(table, row, view) else 1
    else:
        rank = 2 if left_s < prefill_left_s(table, row, view) + view.token_latency_s else 0
    return rank * RANK_S - left_s
