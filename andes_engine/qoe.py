"""Quality of experience (QoE) of one streamed response: how late its tokens are for the person who reads them.

Times are seconds after the request's arrival. A reader expects token ``i`` at ``e_i = ttft + i * latency`` and consumes it at
``c_i = max(d_i, c_{i-1} + latency)`` when it was delivered at ``d_i``. So lateness cascades and being early fills a buffer.
``c_i - e_i`` is the running maximum of ``d_i - e_i``, which is why QoE can be kept in O(1) per token (see `deliver`).

The headline form is the delay form of Andes (arXiv 2404.16283 v2): ``W / (W + mean lag)`` with ``W = n * latency / 2``. The two
older forms are here for comparison with published numbers only: they can be raised by withholding tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.compile_cache import compiled
from andes_engine.errors import InvalidTimelineError

FloatArray = NDArray[np.float64]

NEVER_DELIVERED = -1.0e300
"""Lateness of a request without a token: below every real number of seconds, and safe to compare."""


def headline_qoe(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> float:
    """Headline QoE, the form every report and reward of this project uses.

    Args:
        delivery_s: Delivery time of each token, s after arrival, non-decreasing. Shape (n,), n >= 1.
        ttft_s: Expected time to first token, s.
        latency_s: Reader's pace, s per token.

    Returns:
        QoE in (0, 1]; exactly 1 when no token is late.

    Raises:
        InvalidTimelineError: If there is no token, or a time is negative, NaN or out of order.
    """
    lag = reader_lag(delivery_s, ttft_s, latency_s)
    return float(qoe_from_lag.py_func(len(lag), float(lag.sum()), latency_s))


def qoe_area(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> float:
    """Area form of Andes v1, Eq. 1: one minus lost area over the expected area up to the end of consumption.

    Not the project's QoE: the denominator grows with the end time, so withholding the last token raises it.
    """
    lag = reader_lag(delivery_s, ttft_s, latency_s)
    end_s = ttft_s + len(lag) * latency_s + _signed_lateness(delivery_s, ttft_s, latency_s)[-1]
    return _one_minus_share(float(lag.sum()), len(lag), end_s, ttft_s, latency_s)


def qoe_authors_code(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> float:
    """The authors' published code (a fork of vLLM 0.6.1), with its off-by-one: a stall before the last token is free."""
    delivery = check_timeline(delivery_s, ttft_s, latency_s)
    consumed_s, gap_s = delivery[0], 0.0
    for index, delivered_s in enumerate(delivery):
        gap_s += max(consumed_s - (ttft_s + index * latency_s), 0.0)
        consumed_s = max(consumed_s + latency_s, delivered_s)
    return _one_minus_share(gap_s, len(delivery), consumed_s, ttft_s, latency_s)


def reader_lag(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> FloatArray:
    """Lag of the reader at each token: consumption minus expectation, never negative. Shape (n,), s."""
    return np.maximum(_signed_lateness(delivery_s, ttft_s, latency_s), 0.0)


def check_timeline(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> FloatArray:
    """Return the delivery times as an array, or say what is wrong with them."""
    delivery = np.asarray(delivery_s, dtype=np.float64)
    if delivery.ndim != 1 or delivery.size == 0:
        raise InvalidTimelineError(f"a response needs at least one token, got shape {delivery.shape}")
    if not np.isfinite(delivery).all() or delivery[0] < 0 or (np.diff(delivery) < 0).any():
        raise InvalidTimelineError("delivery times must be finite, >= 0 and non-decreasing seconds after arrival")
    if not (np.isfinite(ttft_s) and ttft_s >= 0 and np.isfinite(latency_s) and latency_s > 0):
        raise InvalidTimelineError(f"need ttft_s >= 0 and latency_s > 0, got {ttft_s} and {latency_s}")
    return delivery


def _signed_lateness(delivery_s: ArrayLike, ttft_s: float, latency_s: float) -> FloatArray:
    delivery = check_timeline(delivery_s, ttft_s, latency_s)
    expected = ttft_s + latency_s * np.arange(len(delivery))
    return np.maximum.accumulate(delivery - expected)


def _one_minus_share(gap_s: float, tokens: int, end_s: float, ttft_s: float, latency_s: float) -> float:
    if gap_s == 0.0:
        return 1.0
    expected_area = tokens * (2.0 * (end_s - ttft_s) - tokens * latency_s) / 2.0
    return min(1.0, 1.0 - gap_s / expected_area)


@compiled
def qoe_from_lag(tokens: int, lag_sum_s: float, latency_s: float) -> float:
    """Headline QoE from its sufficient statistics: token count, sum of lags (s), reader's pace (s per token)."""
    if tokens == 0:
        return 1.0
    whole_s = tokens * latency_s / 2.0
    return whole_s / (whole_s + lag_sum_s / tokens)
