"""Fit of the step-time model to measured iterations: non-negative, relative errors, judged by cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import AndesError
from andes_engine.step_time.model import StepTime

FloatArray = NDArray[np.float64]

FOLDS = 5
_OUTLIER = 10.0
"""Iterations longer than this many medians of their regime are pauses of the host and take no part."""
_SPLITS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Where the search for the roofline's corner starts: quantiles of the prefill tokens."""


@dataclass(frozen=True, slots=True)
class StepSample:
    """One measured iteration: what was in it (see `model.step_seconds`) and how long it took."""

    prefill_tokens: int
    decode_seqs: int
    context_tokens: int
    sum_sq_prefill: int
    duration_s: float
    prefill_context: int = 0


@dataclass(frozen=True, slots=True)
class RegimeReport:
    """How well one regime is described.

    Args:
        samples: Iterations it was fitted to.
        outliers: Iterations left out as pauses of the host.
        r_squared: Share of the variance explained, in sample.
        mape: Mean absolute relative error, in sample.
        cv_r_squared: The same share on iterations the fit had not seen (5 folds).
        cv_mape: The same error on iterations the fit had not seen.
    """

    samples: int
    outliers: int
    r_squared: float
    mape: float
    cv_r_squared: float
    cv_mape: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fitted model, its error in each regime, and the forms that were tried with prefill.

    Args:
        model: The winner.
        decode: Error of the decode-only regime.
        mixed: Error of the regime with prefill.
        form: `linear` or `roofline`, whichever predicts unseen iterations better.
        tried: Cross-validated MAPE of every form that was tried.
    """

    model: StepTime
    decode: RegimeReport
    mixed: RegimeReport
    form: str
    tried: Mapping[str, float]

    @property
    def samples(self) -> int:
        """Iterations that took part."""
        return self.decode.samples + self.mixed.samples


def fit(samples: Sequence[StepSample], name: str, min_samples: int = 20) -> FitReport:
    """Fit both regimes apart by relative least squares; the form with prefill is chosen by cross-validated MAPE.

    Where no sample has a chunk with tokens before it, x cannot be measured and stays 2 e (see `StepTime`).

    Raises:
        AndesError: If a regime has fewer than `min_samples` samples.
    """
    rows = np.array([_row(sample) for sample in samples], dtype=float).reshape(-1, 6)
    regimes = {}
    for regime, chosen in (("decode-only", rows[:, 0] == 0), ("prefill", rows[:, 0] > 0)):
        data = rows[chosen]
        if len(data) < min_samples:
            raise AndesError(
                f"cannot fit the step time: {len(data)} {regime} iterations, need {min_samples}; run longer"
            )
        regimes[regime] = data[data[:, 5] < _OUTLIER * np.median(data[:, 5])], len(data)
    decode, decode_count = regimes["decode-only"]
    mixed, mixed_count = regimes["prefill"]
    reports = {form: _judge(mixed, mixed_count, solve) for form, solve in _FORMS.items()}
    form = min(reports, key=lambda one: reports[one].cv_mape)
    a, b, c = _solve_decode(decode)
    a2, g, b2, c2, e, x, f0, f1, f2 = _FORMS[form](mixed)
    model = StepTime(
        name,
        (a, b, c),
        (a2, g, b2, c2, e),
        floor=(f0, f1, f2),
        prefill_context=x if mixed[:, 4].any() else None,
    )
    tried = {one: report.cv_mape for one, report in reports.items()}
    return FitReport(model, _judge(decode, decode_count, _solve_decode), reports[form], form, tried)


@dataclass(frozen=True, slots=True)
class UnseenError:
    """Error on iterations that took no part in the fit.

    Args:
        decode_mape: Mean absolute relative error without prefill, pauses of the host left out; NaN if there were none.
        mixed_mape: The same with prefill.
        total: Relative error of the summed time of all iterations; what end-to-end times feel.
    """

    decode_mape: float
    mixed_mape: float
    total: float


def unseen_error(model: StepTime, samples: Sequence[StepSample]) -> UnseenError:
    """Hold a model against iterations it was not fitted to."""
    rows = np.array([_row(sample) for sample in samples], dtype=float).reshape(-1, 6)
    found = np.array([model(*map(int, row[:5])) for row in rows])
    kept = rows[:, 5] < _OUTLIER * np.median(rows[:, 5])
    off = np.abs(found / rows[:, 5] - 1.0)
    regimes = [kept & (rows[:, 0] == 0), kept & (rows[:, 0] > 0)]
    decode, mixed = (float(off[rows_of].mean()) if rows_of.any() else float("nan") for rows_of in regimes)
    return UnseenError(decode, mixed, float(found[kept].sum() / rows[kept, 5].sum() - 1.0))


def _row(sample: StepSample) -> tuple[float, ...]:
    return (
        sample.prefill_tokens,
        sample.decode_seqs,
        sample.context_tokens,
        sample.sum_sq_prefill,
        sample.prefill_context,
        sample.duration_s,
    )


def _judge(rows: FloatArray, count: int, solve: Callable[[FloatArray], list[float]]) -> RegimeReport:
    """Error in sample, and on folds that are alike: every fifth row by duration, so nothing is drawn."""
    rows = rows[np.argsort(rows[:, 5], kind="stable")]
    inside = _predict(solve(rows), rows)
    outside = np.empty(len(rows))
    for fold in range(FOLDS):
        held_out = np.arange(len(rows)) % FOLDS == fold
        outside[held_out] = _predict(solve(rows[~held_out]), rows[held_out])
    scores = [score for predicted in (inside, outside) for score in _scores(predicted, rows[:, 5])]
    return RegimeReport(len(rows), count - len(rows), *scores)


def _scores(predicted: FloatArray, duration_s: FloatArray) -> tuple[float, float]:
    """R^2 and MAPE; R^2 is 1 for a perfect fit of durations that are all the same."""
    residual = duration_s - predicted
    spread = float(((duration_s - duration_s.mean()) ** 2).sum())
    lost = float((residual**2).sum())
    r_squared = 1.0 - lost / spread if spread > 0.0 else float(lost == 0.0)
    return r_squared, float(np.mean(np.abs(residual) / duration_s))


def _predict(coefficients: Sequence[float], rows: FloatArray) -> FloatArray:
    """Durations, s, from the coefficients in the order of `_solve_decode` or of `_FORMS`."""
    k = np.asarray(coefficients)
    if len(k) == 3:
        return k[0] + rows[:, 1:3] @ k[1:]
    layers = np.maximum(k[0] + rows[:, :2] @ k[1:3], k[6] + rows[:, :2] @ k[7:9])
    return layers + rows[:, 2:5] @ k[3:6]


def _solve_decode(rows: FloatArray) -> list[float]:
    """(a, b, c)."""
    return _relative_nnls(np.column_stack([np.ones(len(rows)), rows[:, 1:3]]), rows[:, 5])


def _solve_linear(rows: FloatArray) -> list[float]:
    """(a', g, b', c', e, x, 0, 0, 0)."""
    return [*_relative_nnls(np.column_stack([np.ones(len(rows)), rows[:, :5]]), rows[:, 5]), 0.0, 0.0, 0.0]


def _solve_roofline(rows: FloatArray) -> list[float]:
    """(a', g, b', c', e, x, f0, f1, f2): the best of several starts of the corner's place."""
    starts = {float(np.quantile(rows[:, 0], share)) for share in _SPLITS}
    tried = [_from_corner(rows, rows[:, 0] <= corner) for corner in sorted(starts)]
    return min(tried, key=lambda found: float((((_predict(found, rows) - rows[:, 5]) / rows[:, 5]) ** 2).sum()))


def _from_corner(rows: FloatArray, on_floor: NDArray[np.bool_]) -> list[float]:
    """Alternate between which side of the maximum each row lies on and the coefficients of the sides, until both agree."""
    layers = np.column_stack([np.ones(len(rows)), rows[:, :2]])
    seen = set()
    while on_floor.tobytes() not in seen:
        seen.add(on_floor.tobytes())
        sides = np.column_stack([layers * ~on_floor[:, None], rows[:, 2:5], layers * on_floor[:, None]])
        k = _relative_nnls(sides, rows[:, 5])
        on_floor = layers @ np.array(k[6:]) > layers @ np.array(k[:3])
    return k


def _relative_nnls(design: FloatArray, duration_s: FloatArray) -> list[float]:
    """Non-negative least squares on relative error: each row divided by its duration."""
    from scipy.optimize import nnls  # half of what importing the simulator would take

    relative = design / duration_s[:, None]
    scale = np.abs(relative).max(axis=0)
    scale[scale == 0.0] = 1.0
    solution, _ = nnls(relative / scale, np.ones(len(relative)))
    return [float(value) for value in solution / scale]


_FORMS: dict[str, Callable[[FloatArray], list[float]]] = {"linear": _solve_linear, "roofline": _solve_roofline}
