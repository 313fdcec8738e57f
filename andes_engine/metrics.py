"""Metrics of a run, as METRICS.md defines them; every table and figure of the project takes its numbers from here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from andes_engine.errors import UnknownNameError
from andes_engine.records import RunRecord

LATE_S = 60.0
"""A response whose mean lag exceeds this is counted as abandoned in all but name."""


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
    Metric("qoe_share_95", "QoE >= .95", "share", 3, True),
    Metric("late_share", "> 60 s late", "share", 3, False),
    Metric("ttft_p50_s", "TTFT p50", "s", 2, False),
    Metric("ttft_p90_s", "TTFT p90", "s", 2, False),
    Metric("ttft_max_s", "TTFT max", "s", 1, False),
    Metric("tpot_p50_s", "TPOT p50", "s", 3, False),
    Metric("preemptions_per_request", "preemptions / request", "", 2, False),
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
    ttft_s = record.ttft_s[np.isfinite(record.ttft_s)]
    p50, p90, highest = (float(np.quantile(ttft_s, q)) for q in (0.5, 0.9, 1.0)) if len(ttft_s) else (np.nan,) * 3
    return {
        "qoe_mean": float(record.qoe.mean()),
        "qoe_p10": float(np.quantile(record.qoe, 0.10)),
        "qoe_p5": float(np.quantile(record.qoe, 0.05)),
        "qoe_share_95": float((record.qoe >= 0.95).mean()),
        "late_share": float((record.lateness_s > LATE_S).mean()),
        "ttft_p50_s": p50,
        "ttft_p90_s": p90,
        "ttft_max_s": highest,
        "tpot_p50_s": _tpot_p50_s(record),
        "preemptions_per_request": float(record.preemptions.mean()),
        "tokens_per_s": float(record.emitted_tokens.sum() / max(record.duration_s, 1e-9)),
        "unfinished": float((~record.finished).sum()),
        "qoe_mean_lower": float(record.qoe_lower.mean()),
    }


def _tpot_p50_s(record: RunRecord) -> float:
    """Median time per output token after the first, over finished requests with at least two tokens."""
    several = record.finished & (record.emitted_tokens > 1)
    if not several.any():
        return float("nan")
    span_s = record.finish_s[several] - record.first_token_s[several]
    return float(np.median(span_s / (record.emitted_tokens[several] - 1)))
