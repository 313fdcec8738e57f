"""Metrics of a run, as METRICS.md defines them; every table and figure of the project takes its numbers from here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import UnknownNameError
from andes_engine.older_qoe import qoe_area_of, qoe_authors_code_of
from andes_engine.records import RunRecord

LATE_S = 60.0
"""A response whose mean lag exceeds this is counted as abandoned in all but name."""

PERFECT = 1.0 - 1e-9
"""From here on a response counts as perfect: rounding is no lateness."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run: how it is named, formatted and which way is better."""

    key: str
    label: str
    unit: str
    digits: int
    higher_is_better: bool


METRICS: tuple[Metric, ...] = (
    Metric("qoe_mean", "QoE mean", "", 3, True),
    Metric("qoe_p10", "QoE p10", "", 3, True),
    Metric("qoe_p5", "QoE p5", "", 3, True),
    Metric("qoe_share_90", "QoE >= .9", "share", 3, True),
    Metric("qoe_share_95", "QoE >= .95", "share", 3, True),
    Metric("perfect_share", "QoE = 1", "share", 3, True),
    Metric("qoe_area_mean", "QoE mean, area form", "", 3, True),
    Metric("qoe_authors_mean", "QoE mean, authors' code", "", 3, True),
    Metric("late_share", "> 60 s late", "share", 3, False),
    Metric("ttft_mean_s", "TTFT mean", "s", 2, False),
    Metric("ttft_p50_s", "TTFT p50", "s", 2, False),
    Metric("ttft_p90_s", "TTFT p90", "s", 2, False),
    Metric("ttft_max_s", "TTFT max", "s", 1, False),
    Metric("tpot_p50_s", "TPOT p50", "s", 3, False),
    Metric("tds_mean", "TDS mean", "tokens/s", 2, True),
    Metric("tds_p50", "TDS p50", "tokens/s", 2, True),
    Metric("tds_p10", "TDS p10", "tokens/s", 2, True),
    Metric("preemptions_per_request", "preemptions / request", "", 2, False),
    Metric("recomputed_per_request", "recomputed / request", "tokens", 0, False),
    Metric("peak_queue", "peak queue", "requests", 0, False),
    Metric("jain_users", "Jain index of users' QoE", "", 3, True),
    Metric("tokens_per_s", "throughput", "tokens/s", 0, True),
    Metric("unfinished", "unfinished", "requests", 0, False),
)

HEADLINE = (
    "qoe_mean",
    "qoe_p10",
    "qoe_share_95",
    "ttft_p50_s",
    "ttft_p90_s",
    "preemptions_per_request",
    "tokens_per_s",
)
"""The columns of the tables people see first."""


def metric(key: str) -> Metric:
    """Definition of a metric."""
    for entry in METRICS:
        if entry.key == key:
            return entry
    raise UnknownNameError("metric", key, [entry.key for entry in METRICS])


def summarize(record: RunRecord) -> dict[str, float]:
    """All metrics of one run, by key."""
    return {
        **_qoe(record),
        **_ttft(record),
        **_pace(record),
        "preemptions_per_request": float(record.preemptions.mean()),
        "recomputed_per_request": _recomputed_per_request(record),
        "peak_queue": _peak_queue(record),
        "jain_users": _jain(_mean_of_users(record)),
        "tokens_per_s": float(record.emitted_tokens.sum() / max(record.duration_s, 1e-9)),
        "unfinished": float((~record.finished).sum()),
    }


def _qoe(record: RunRecord) -> dict[str, float]:
    return {
        "qoe_mean": float(record.qoe.mean()),
        "qoe_p10": float(np.quantile(record.qoe, 0.10)),
        "qoe_p5": float(np.quantile(record.qoe, 0.05)),
        "qoe_share_90": float((record.qoe >= 0.90).mean()),
        "qoe_share_95": float((record.qoe >= 0.95).mean()),
        "perfect_share": float((record.qoe >= PERFECT).mean()),
        "qoe_area_mean": float(qoe_area_of(record).mean()),
        "qoe_authors_mean": float(qoe_authors_code_of(record).mean()),
        "late_share": float((record.lateness_s > LATE_S).mean()),
        "qoe_mean_lower": float(record.qoe_lower.mean()),
    }


def _ttft(record: RunRecord) -> dict[str, float]:
    ttft_s = record.ttft_s[np.isfinite(record.ttft_s)]
    return {
        "ttft_mean_s": _mean(ttft_s),
        "ttft_p50_s": _quantile(ttft_s, 0.5),
        "ttft_p90_s": _quantile(ttft_s, 0.9),
        "ttft_max_s": _quantile(ttft_s, 1.0),
    }


def _pace(record: RunRecord) -> dict[str, float]:
    """TPOT and TDS over finished requests with at least two tokens; of TDS, those whose tokens did not all come at once."""
    several = record.finished & (record.emitted_tokens > 1)
    span_s = record.finish_s[several] - record.first_token_s[several]
    gaps = record.emitted_tokens[several] - 1
    tds = gaps[span_s > 0.0] / span_s[span_s > 0.0]
    return {
        "tpot_p50_s": _quantile(span_s / gaps, 0.5),
        "tds_mean": _mean(tds),
        "tds_p50": _quantile(tds, 0.5),
        "tds_p10": _quantile(tds, 0.1),
    }


def _recomputed_per_request(record: RunRecord) -> float:
    """Tokens prefilled beyond every prompt once; NaN where a record cannot tell it from what was not prefilled."""
    if record.workload.block_hashes is not None or not np.isfinite(record.first_token_s).all():
        return float("nan")
    return (record.prefill_tokens - float(record.workload.prompt_tokens.sum())) / len(record.workload)


def _peak_queue(record: RunRecord) -> float:
    """Most requests at one time that had arrived, had no first token yet, and whose readers had not left."""
    left_s = np.where(np.isfinite(record.first_token_s), record.first_token_s, record.workload.abort_s)
    came_s = record.workload.arrival_s[record.workload.arrival_s <= record.duration_s]
    times = np.concatenate([left_s[: len(came_s)], came_s])
    change = np.repeat([-1, 1], len(came_s))
    return float(np.cumsum(change[np.argsort(times, kind="stable")]).max(initial=0))


def _mean_of_users(record: RunRecord) -> FloatArray:
    """Mean QoE of each user who asked. Shape (users,)."""
    _, user = np.unique(record.workload.user, return_inverse=True)
    return np.bincount(user, weights=record.qoe) / np.bincount(user)


def _jain(shares: FloatArray) -> float:
    """Jain's index ``(sum x)^2 / (n sum x^2)`` (Jain, Chiu and Hawe 1984); NaN for fewer than two."""
    if len(shares) < 2:
        return float("nan")
    return float(shares.sum() ** 2 / (len(shares) * np.square(shares).sum()))


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _quantile(values: FloatArray, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")
