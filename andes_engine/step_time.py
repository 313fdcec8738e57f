"""Iteration-time model of an engine: how long a step takes, given what is in it.

Two regimes, fitted apart (one linear model over both is 7-9 % off per step but up to a third end to end):
decode-only ``a + b*B + c*C`` and with prefill ``a' + g*P + b'*B + c'*C + e*S`` with B decode sequences, C their context tokens,
P prefill tokens and S the sum of squared prefill chunk lengths.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from andes_engine.compile_cache import compiled
from andes_engine.errors import AndesError, UnknownNameError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepTime:
    """Coefficients of the two regimes, in seconds per unit.

    Args:
        name: Where the numbers come from, for records.
        decode: (a s, b s/sequence, c s/context token) of iterations without prefill.
        mixed: (a' s, g s/prefill token, b' s/sequence, c' s/context token, e s/token^2) of iterations with prefill.
        host_s: Host time added to each iteration, s.
    """

    name: str
    decode: tuple[float, float, float]
    mixed: tuple[float, float, float, float, float]
    host_s: float = 0.0

    @property
    def vector(self) -> FloatArray:
        """The coefficients as `step_seconds` reads them, host time included. Shape (8,)."""
        decode = (self.decode[0] + self.host_s, *self.decode[1:])
        mixed = (self.mixed[0] + self.host_s, *self.mixed[1:])
        return np.array([*decode, *mixed])

    def __call__(self, prefill_tokens: int, decode_seqs: int, context_tokens: int, sum_sq_prefill: int) -> float:
        """Duration of one iteration, s."""
        return float(step_seconds(self.vector, prefill_tokens, decode_seqs, context_tokens, sum_sq_prefill))


@dataclass(frozen=True, slots=True)
class StepSample:
    """One measured iteration: what was in it and how long it took."""

    prefill_tokens: int
    decode_seqs: int
    context_tokens: int
    sum_sq_prefill: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fitted model with its error on the samples it was fitted to."""

    model: StepTime
    samples: int
    median_abs_error: float
    r_squared: float


@compiled
def step_seconds(
    coefficients: FloatArray, prefill_tokens: int, decode_seqs: int, context: int, sum_sq_prefill: int
) -> float:
    """Duration of one iteration, s, from the coefficients of `StepTime.vector`."""
    k = coefficients
    if prefill_tokens == 0:
        return k[0] + k[1] * decode_seqs + k[2] * context
    return k[3] + k[4] * prefill_tokens + k[5] * decode_seqs + k[6] * context + k[7] * sum_sq_prefill


@compiled
def prefill_seconds(coefficients: FloatArray, tokens: int, chunk_tokens: int) -> float:
    """Time to prefill `tokens` alone in chunks of `chunk_tokens`, s: what (re)starting a request costs the engine."""
    chunks = (tokens + chunk_tokens - 1) // chunk_tokens
    return chunks * coefficients[3] + tokens * coefficients[4] + tokens * min(tokens, chunk_tokens) * coefficients[7]


def preset(name: str) -> StepTime:
    """A published or fitted step-time model by name; see `step_time_presets.json` for sources and errors."""
    entry = presets().get(name)
    if entry is None:
        raise UnknownNameError("step-time preset", name, presets())
    milli, micro, nano = 1e-3, 1e-6, 1e-9
    a, b, c = entry["decode_ms_us_us"]
    a2, g, b2, c2, e = entry["mixed_ms_us_us_us_ns"]
    return StepTime(
        name,
        (a * milli, b * micro, c * micro),
        (a2 * milli, g * micro, b2 * micro, c2 * micro, e * nano),
        entry["host_ms"] * milli,
    )


@cache
def presets() -> dict[str, dict]:
    """All presets with their source and error."""
    return json.loads(files("andes_engine").joinpath("step_time_presets.json").read_text(encoding="utf-8"))


def fit(samples: list[StepSample], name: str, min_samples: int = 20) -> FitReport:
    """Fit both regimes by relative least squares with non-negative coefficients.

    Raises:
        AndesError: If a regime has fewer than `min_samples` samples.
    """
    rows = np.array(
        [(s.prefill_tokens, s.decode_seqs, s.context_tokens, s.sum_sq_prefill, s.duration_s) for s in samples],
        dtype=float,
    ).reshape(-1, 5)
    mixed = rows[rows[:, 0] > 0]
    decode = rows[rows[:, 0] == 0]
    for regime, data in (("decode-only", decode), ("prefill", mixed)):
        if len(data) < min_samples:
            raise AndesError(
                f"cannot fit the step time: {len(data)} {regime} iterations, need {min_samples}; run longer"
            )
    a, b, c = _relative_nnls(decode[:, (1, 2)], decode[:, 4])
    a2, g, b2, c2, e = _relative_nnls(mixed[:, (0, 1, 2, 3)], mixed[:, 4])
    model = StepTime(name, (a, b, c), (a2, g, b2, c2, e))
    predicted = np.array([model(int(p), int(n), int(k), int(s)) for p, n, k, s, _ in rows])
    residual = rows[:, 4] - predicted
    r_squared = 1.0 - float((residual**2).sum() / ((rows[:, 4] - rows[:, 4].mean()) ** 2).sum())
    return FitReport(model, len(rows), float(np.median(np.abs(residual) / rows[:, 4])), r_squared)


def _relative_nnls(features: FloatArray, duration_s: FloatArray) -> tuple[float, ...]:
    """Non-negative least squares on relative error: each row divided by its duration; outliers (10x median) left out."""
    keep = duration_s < 10.0 * np.median(duration_s)
    design = np.column_stack([np.ones(keep.sum()), features[keep]]) / duration_s[keep, None]
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    solution, _ = nnls(design / scale, np.ones(keep.sum()))
    return tuple(float(value) for value in solution / scale)
