"""Andes: how much QoE a request gains from being served over the horizon instead of waiting (arXiv 2404.16283, section 4).

``gain = Q_serve(B) - Q_wait``. Both are the headline QoE of the tokens delivered so far plus the `k` tokens the reader would take
in over the horizon (no more than the length source expects to come). Served, these tokens come at the batch's token latency;
waiting, the same tokens come one horizon later. Judging both sides over the same tokens is a deviation from the paper, which
counts what is delivered by the horizon: with it, no score can be raised by withholding tokens.

Lag that neither choice can undo, past or to come, enters with weight `sunk_lag_weight`. At 0 (default) a waiting request's gain
rises until its first token is due and never falls with age, which is the paper's stated anti-starvation;
at 1 the gain is the plain difference of headline QoE, which favours requests that can still be saved.

Three objectives share the projection (paper, known second-hand): the average of QoE, its minimum, and the count of perfect ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, lag_sum_s, next_due_s

FloatArray = NDArray[np.float64]

TIE_BREAK = 1e-6
"""Weight of the average gain in the other two objectives, whose values are mostly zero: it orders what they leave equal."""


class Projection(NamedTuple):
    """What is to come for one request, s: half the reading time of what is judged, lag per token sunk, and added by waiting."""

    whole_s: float
    sunk_s: float
    added_s: float


class Standing(NamedTuple):
    """Where a reader stands: tokens had, pace, tokens expected still (NaN: nobody knows), when the next one is due.

    Also how late the last one was (0 if it was not), and the sum of all lags, s; due as in `request.next_due_s`.
    """

    emitted_tokens: float
    latency_s: float
    remaining_tokens: float
    due_s: float
    late_s: float
    lag_sum_s: float


@compiled
def standing(table: Requests, row: int) -> Standing:
    """Where the reader of one request stands."""
    return Standing(
        float(table.emitted_tokens[row]),
        table.latency_s[row],
        table.remaining_tokens[row],
        next_due_s(table, row),
        max(table.lateness_s[row], 0.0),
        lag_sum_s(table, row),
    )


@compiled
def project(stands: Standing, start_s: float, delay_s: float, token_latency_s: float, horizon_s: float) -> Projection:
    """Project a request over the horizon, served from `start_s` on or `delay_s` later.

    Args:
        stands: Where its reader stands.
        start_s: When its next token could come if it is served now, engine clock.
        delay_s: How much later it comes otherwise; the horizon for Q_wait, a stall for the preemption refiner.
        token_latency_s: Time between tokens once served: the duration of an iteration at the batch considered.
        horizon_s: Over how much of the response QoE is judged.
    """
    latency_s = stands.latency_s
    ahead = max(horizon_s / max(latency_s, token_latency_s), 1.0)
    if stands.remaining_tokens < ahead:  # false for NaN: no length source
        ahead = max(stands.remaining_tokens, 1.0)
    total = stands.emitted_tokens + ahead
    overdue_s = start_s - stands.due_s
    drift_s = token_latency_s - latency_s
    unavoidable_s = mean_overdue(overdue_s, drift_s, ahead)
    more_s = delay_s  # for every token of one that is overdue anyway: the difference below, without its rounding
    if overdue_s < 0.0:
        more_s = mean_overdue(overdue_s + delay_s, drift_s, ahead) - unavoidable_s
    added_s = ahead / total * more_s
    past_s = stands.lag_sum_s + ahead * (stands.late_s + unavoidable_s)
    return Projection(total * latency_s / 2.0, past_s / total, added_s)


@compiled
def delay_cost(
    stands: Standing,
    start_s: float,
    delay_s: float,
    token_latency_s: float,
    horizon_s: float,
    sunk_lag_weight: float,
) -> float:
    """QoE lost if the request's next tokens come `delay_s` later than they could, in [0, 1]; arguments as in `project`.

    Lag that is already unavoidable counts with `sunk_lag_weight`, 0 to 1.
    """
    if token_latency_s <= stands.latency_s and start_s + delay_s <= stands.due_s:
        return 0.0  # the reader is far enough ahead, the common case
    ahead = project(stands, start_s, delay_s, token_latency_s, horizon_s)
    served_s = ahead.whole_s
    if sunk_lag_weight > 0.0:
        served_s += sunk_lag_weight * ahead.sunk_s
    return ahead.whole_s * ahead.added_s / (served_s * (served_s + ahead.added_s))


@compiled
def max_min_value(lowest_qoe: float, ahead: Projection) -> float:
    """Objective max-min: how far the request would fall below the worst QoE there is, ``max(Q_min - Q_wait, 0)``."""
    return max(lowest_qoe - ahead.whole_s / (ahead.whole_s + ahead.sunk_s + ahead.added_s), 0.0)


@compiled
def perfect_value(ahead: Projection) -> float:
    """Objective perfect count: 1 if the request is perfect, stays so if served and does not if it waits."""
    return 1.0 if ahead.sunk_s <= 0.0 and ahead.added_s > 0.0 else 0.0


@compiled
def mean_overdue(first_s: float, drift_s: float, tokens: float) -> float:
    """Mean over `tokens` tokens of how overdue each is, when the first is `first_s` overdue and each next `drift_s` more.

    Lateness never recovers (the reader does not skip), so a negative drift counts as none.
    """
    if drift_s <= 0.0:
        return max(first_s, 0.0)
    last_s = first_s + drift_s * tokens
    if first_s >= 0.0:
        return (first_s + last_s) / 2.0
    if last_s <= 0.0:
        return 0.0
    return last_s * last_s / (2.0 * drift_s * tokens)
