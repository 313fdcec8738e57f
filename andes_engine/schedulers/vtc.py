"""Virtual Token Counter: fair sharing between users (Sheng et al., OSDI '24, arXiv 2401.00588, Algorithm 2).

Each user has a counter of the tokens served to them, input tokens at weight 1 and output tokens at weight 2 (the prices of the
authors' code, Ying1123/VTC-artifact). The next request is the oldest of the user with the smallest counter. Two users who both
have requests waiting are never further apart than ``max(w_p * longest input, w_q * tokens of a batch)`` (the paper's invariant).

The engine keeps `ScoreView.user_service` with `charge` and `lift`; this module owns what they mean.

Deviations: the paper charges input when a request is admitted; `charge` takes tokens as they are computed, so that chunks and
recomputation are charged to the user they served; the bound then holds with what is still to be prefilled on top. All users weigh
the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests
from andes_engine.schedulers.score_view import ScoreView, seniority

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PREEMPTIVE = False
"""As in the paper, fairness is made at admission; a running request is left alone."""

PREFILL_WEIGHT = 1.0
DECODE_WEIGHT = 2.0


@compiled
def charge(user_service: FloatArray, user: int, prefill_tokens: int, decode_tokens: int) -> None:
    """Add served tokens to a user's counter.

    Args:
        user_service: Counters, changed in place. Shape (users,).
        user: Whose tokens they are.
        prefill_tokens: Input tokens computed, and tokens computed again.
        decode_tokens: Output tokens.
    """
    user_service[user] += PREFILL_WEIGHT * prefill_tokens + DECODE_WEIGHT * decode_tokens


@compiled
def lift(user_service: FloatArray, user: int, active_users: IntArray) -> None:
    """Raise the counter of a user who comes back to the least of the active users: idle time earns no credit.

    Call it when a request arrives of a user who has none waiting.

    Args:
        user_service: Counters, changed in place. Shape (users,).
        user: Who comes back; ignored among the active users.
        active_users: Users with requests waiting. If there is none, the paper takes the last user who had one: pass that one.
            Empty changes nothing.
    """
    floor = np.inf
    for other in active_users:
        if other != user:
            floor = min(floor, user_service[other])
    if floor < np.inf:
        user_service[user] = max(user_service[user], floor)


@compiled
def score(table: Requests, row: int, is_running: bool, view: ScoreView) -> float:
    """Minus the user's counter (whole tokens), ties by arrival."""
    return seniority(table, row, view) - view.user_service[table.user[row]]
