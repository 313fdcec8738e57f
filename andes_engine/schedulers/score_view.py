"""What a score may see besides its request, and the quantities several rivals share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, context_tokens

FloatArray = NDArray[np.float64]

_HALF_AGE_S = 60.0
"""Age at which `seniority` is one half: keeps it well apart for ages of a queue, a fraction of a second to hours."""


class ScoreView(NamedTuple):
    """The engine as a score sees it.

    Attributes:
        now_s: Time of the decision, engine clock, s.
        token_latency_s: Predicted duration of an iteration at the current batch, s.
        resume_s_per_token: Price of prefilling one token, s.
        user_service: Weighted tokens served per user (`vtc.charge`). Shape (users,).
    """

    now_s: float
    token_latency_s: float
    resume_s_per_token: float
    user_service: FloatArray


@compiled
def seniority(table: Requests, row: int, view: ScoreView) -> float:
    """Rises with age from 0 towards 1: added to a whole-number score it breaks ties by arrival and nothing else."""
    age_s = max(view.now_s - table.arrival_s[row], 0.0)
    return age_s / (age_s + _HALF_AGE_S)


@compiled
def prefill_left_s(table: Requests, row: int, view: ScoreView) -> float:
    """Time to prefill what is missing before the next token can be decoded; 0 for a request that is decoding, s."""
    missing = context_tokens(table, row) - table.computed_tokens[row]
    return max(missing - 1, 0) * view.resume_s_per_token


@compiled
def attained_s(table: Requests, row: int, view: ScoreView) -> float:
    """Service a request has had, at today's prices: a decoded token costs an iteration, every other one its prefill, s."""
    decoded = table.emitted_tokens[row]
    prefilled = max(table.served_tokens[row] - decoded, 0)
    return prefilled * view.resume_s_per_token + decoded * view.token_latency_s


@compiled
def out_of_service_s(table: Requests, row: int, view: ScoreView) -> float:
    """How long a waiting request has been without service: since its arrival, last admission or last token, s."""
    since_s = table.arrival_s[row]
    for event_s in (table.admitted_s[row], table.last_token_s[row]):
        if event_s > since_s:  # false for NaN: it has not happened
            since_s = event_s
    return max(view.now_s - since_s, 0.0)
