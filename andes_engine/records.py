"""What a run leaves behind: one record per request, the same from every engine, and the run's own numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.qoe import headline_qoe
from andes_engine.workload import Workload

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Per-request outcome of one workload under one scheduler on one engine. Arrays have shape (n,), times on the run's clock.

    Args:
        workload: What was asked.
        engine: Name of the engine.
        scheduler: Name of the scheduler or bundle.
        qoe: Headline QoE; of an unfinished request, its upper bound (everything delivered right after the cut).
        qoe_lower: The same for finished requests; 0 for unfinished ones (never delivered).
        first_token_s: Time of the first token, NaN if there was none.
        finish_s: Time of the last token, NaN if unfinished.
        emitted_tokens: Tokens delivered.
        preemptions: Times the request lost its KV cache; NaN where the engine does not tell.
        duration_s: Time from the first arrival's clock zero to the end of the run.
        prefill_tokens: Prompt tokens computed, recomputation included; NaN where the engine does not tell.
        token_s: Delivery time of each token, per request; empty when not recorded.
        notes: Counters worth showing: decisions, planned preemptions, fallbacks.
    """

    workload: Workload
    engine: str
    scheduler: str
    qoe: FloatArray
    qoe_lower: FloatArray
    first_token_s: FloatArray
    finish_s: FloatArray
    emitted_tokens: IntArray
    preemptions: IntArray | FloatArray
    duration_s: float
    prefill_tokens: float
    token_s: tuple[FloatArray, ...] = ()
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ttft_s(self) -> FloatArray:
        """Time to first token, s; NaN where there was none. Shape (n,)."""
        return self.first_token_s - self.workload.arrival_s

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Whether each request delivered its last token. Shape (n,)."""
        return np.isfinite(self.finish_s)

    @property
    def lateness_s(self) -> FloatArray:
        """Mean lag of each response, s, from its QoE: ``W (1 - q) / q``. Shape (n,)."""
        whole_s = self.workload.output_tokens * self.workload.latency_s / 2.0
        return whole_s * (1.0 - self.qoe) / np.maximum(self.qoe, 1e-300)


def qoe_upper_bound(delivery_s: ArrayLike, missing_tokens: int, cut_s: float, ttft_s: float, latency_s: float) -> float:
    """Headline QoE of a response if everything that is missing comes at once.

    Args:
        delivery_s: Delivery times so far, s after arrival. Shape (n,), may be empty.
        missing_tokens: Tokens still to come, >= 0.
        cut_s: When they come, s after arrival, not before the last of the others.
        ttft_s: Expected time to first token, s.
        latency_s: Reader's pace, s per token.
    """
    ideal = np.concatenate([np.asarray(delivery_s, dtype=np.float64), np.full(missing_tokens, cut_s)])
    return headline_qoe(np.maximum(ideal, 0.0), ttft_s, latency_s)


def record_from_tokens(
    workload: Workload,
    engine: str,
    scheduler: str,
    token_s: list[FloatArray],
    preemptions: IntArray | FloatArray,
    **run: object,
) -> RunRecord:
    """A record from each request's token times (run's clock), for engines that are measured from outside."""
    n = len(workload)
    if len(token_s) != n:
        raise ValueError(f"need token times of {n} requests, got {len(token_s)}")
    end_s = float(run["duration_s"])  # type: ignore[arg-type]
    qoe, lower = np.ones(n), np.zeros(n)
    first, finish = np.full(n, np.nan), np.full(n, np.nan)
    for row, times in enumerate(token_s):
        missing = workload.output_tokens[row] - len(times)
        cut_s = max(min(end_s, workload.abort_s[row]), workload.arrival_s[row], *times[-1:])
        qoe[row] = qoe_upper_bound(
            times - workload.arrival_s[row],
            int(missing),
            cut_s - workload.arrival_s[row],
            workload.ttft_s[row],
            workload.latency_s[row],
        )
        lower[row] = qoe[row] if missing == 0 else 0.0
        first[row] = times[0] if len(times) else np.nan
        finish[row] = times[-1] if missing == 0 else np.nan
    emitted = np.array([len(times) for times in token_s], dtype=np.int64)
    return RunRecord(
        workload,
        engine,
        scheduler,
        qoe,
        lower,
        first,
        finish,
        emitted,
        preemptions,
        token_s=tuple(token_s),
        **run,  # type: ignore[arg-type]
    )
