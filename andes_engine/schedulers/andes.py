"""Andes: how much QoE a request gains from being served over the horizon instead of waiting (arXiv 2404.16283, section 4).

``gain = Q_serve(B) - Q_wait``. Both are the headline QoE of the tokens delivered so far plus the `k` tokens the reader would take
in over the horizon. Served, these tokens come at the batch's token latency; waiting, the same tokens come one horizon later.
Judging both sides over the same tokens is a deviation from the paper, which counts what is delivered by the horizon: with it, no
score can be raised by withholding tokens.

Lag that neither choice can undo, past or to come, enters with weight `sunk_lag_weight`. At 0 (default) a waiting request's gain
rises until its first token is due and never falls with age, which is the paper's stated anti-starvation;
at 1 the gain is the plain difference of headline QoE, which favours requests that can still be saved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.request import Requests, next_due_s

FloatArray = NDArray[np.float64]


@compiled
def delay_cost(
    table: Requests,
    row: int,
    start_s: float,
    delay_s: float,
    token_latency_s: float,
    horizon_s: float,
    sunk_lag_weight: float,
) -> float:
    """QoE lost if the request's next tokens come `delay_s` later than they could.

    Args:
        table: Live requests.
        row: The request.
        start_s: When its next token could come if it is served now, engine clock.
        delay_s: How much later it comes otherwise; the horizon for Q_wait, a stall for the preemption refiner.
        token_latency_s: Time between tokens once served: the duration of an iteration at the batch considered.
        horizon_s: Over how much of the response QoE is judged.
        sunk_lag_weight: Weight of lag that is already unavoidable, 0 to 1.

    Returns:
        Difference of QoE, in [0, 1].
    """
    latency_s = table.latency_s[row]
    emitted = table.emitted_tokens[row]
    ahead = max(horizon_s / max(latency_s, token_latency_s), 1.0)
    total = emitted + ahead
    overdue_s = start_s - next_due_s(table, row)
    drift_s = token_latency_s - latency_s
    unavoidable_s = mean_overdue(overdue_s, drift_s, ahead)
    added_s = ahead / total * (mean_overdue(overdue_s + delay_s, drift_s, ahead) - unavoidable_s)
    past_s = table.lag_sum_s[row] + ahead * (max(table.lateness_s[row], 0.0) + unavoidable_s)
    whole_s = total * latency_s / 2.0
    served_s = whole_s + sunk_lag_weight * past_s / total
    return whole_s / served_s - whole_s / (served_s + added_s)


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
