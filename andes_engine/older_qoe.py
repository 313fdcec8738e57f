"""The two older forms of QoE for all requests of a run at once, from its token times; `qoe.py` has them for one response."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from andes_engine.records import RunRecord

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROWS_AT_ONCE = 512
"""Responses of similar length that are reckoned together, so that a long one does not pad all others."""


def qoe_area_of(record: RunRecord) -> FloatArray:
    """`qoe.qoe_area` of every request; NaN where the run kept no token times. Shape (n,).

    What is missing of an unfinished response counts as delivered at the cut, as in `records.qoe_upper_bound`.
    """
    return _of_all(record, _area)


def qoe_authors_code_of(record: RunRecord) -> FloatArray:
    """`qoe.qoe_authors_code` of every request; NaN where the run kept no token times. Shape (n,)."""
    return _of_all(record, _authors_code)


def _of_all(record: RunRecord, form: Callable[[RunRecord, IntArray], FloatArray]) -> FloatArray:
    values = np.full(len(record.workload), np.nan)
    if record.token_s:
        for rows in _by_length(record):
            values[rows] = form(record, rows)
    return values


def _by_length(record: RunRecord) -> Iterator[IntArray]:
    order = np.argsort(record.workload.output_tokens, kind="stable")
    yield from np.array_split(order, max(1, -(-len(order) // ROWS_AT_ONCE)))


def _area(record: RunRecord, rows: IntArray) -> FloatArray:
    tokens, pace_s = record.workload.output_tokens[rows], record.workload.latency_s[rows]
    late_s = running_lateness_s(record, rows)
    gap_s = _sum_of_lags(late_s, tokens)
    return _one_minus_share(gap_s, tokens, tokens * pace_s + late_s[:, -1], pace_s)


def _authors_code(record: RunRecord, rows: IntArray) -> FloatArray:
    """In their loop a token is consumed when its predecessor was: lateness comes one token late, and one pace too small."""
    tokens, pace_s = record.workload.output_tokens[rows], record.workload.latency_s[rows]
    late_s = running_lateness_s(record, rows)
    shifted_s = np.maximum(late_s - pace_s[:, None], late_s[:, :1])
    gap_s = _sum_of_lags(np.hstack([late_s[:, :1], shifted_s[:, :-1]]), tokens)
    return _one_minus_share(gap_s, tokens, tokens * pace_s + shifted_s[:, -1], pace_s)


def running_lateness_s(record: RunRecord, rows: IntArray) -> FloatArray:
    """Running maximum of delivery minus expectation of some requests, s, negative while early.

    Shape (rows, longest); past its last token a row keeps its last value.
    """
    asked = record.workload
    tokens = asked.output_tokens[rows]
    place = np.arange(tokens.max())
    came = np.array([len(record.token_s[row]) for row in rows])
    delivered = np.repeat(_cut_s(record, rows)[:, None], len(place), axis=1)
    delivered[place < came[:, None]] = np.concatenate([record.token_s[row] for row in rows])
    waited = np.maximum(delivered - asked.arrival_s[rows, None], 0.0)
    late_s = waited - (asked.ttft_s[rows, None] + asked.latency_s[rows, None] * place)
    late_s[place >= tokens[:, None]] = -np.inf
    return np.maximum.accumulate(late_s, axis=1)


def _cut_s(record: RunRecord, rows: IntArray) -> FloatArray:
    """When what is missing of a response counts as delivered: at the end of the run, or when its reader left."""
    last_s = np.array([record.token_s[row][-1] if len(record.token_s[row]) else -np.inf for row in rows])
    end_s = np.minimum(record.duration_s, record.workload.abort_s[rows])
    return np.maximum(np.maximum(end_s, record.workload.arrival_s[rows]), last_s)


def _sum_of_lags(late_s: FloatArray, tokens: IntArray) -> FloatArray:
    return np.where(np.arange(late_s.shape[1]) < tokens[:, None], np.maximum(late_s, 0.0), 0.0).sum(axis=1)


def _one_minus_share(gap_s: FloatArray, tokens: IntArray, span_s: FloatArray, pace_s: FloatArray) -> FloatArray:
    """``min(1, 1 - G / S)``; `span_s` is the end of consumption less the expected time to first token."""
    area = tokens * (2.0 * span_s - tokens * pace_s) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap_s == 0.0, 1.0, np.minimum(1.0, 1.0 - gap_s / area))
