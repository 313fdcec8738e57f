from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from andes_engine.errors import AndesError
from andes_engine.step_time import StepSample, StepTime, fit
from tests.engine.test_step_time import ROOFLINE, TRUE


def samples(model: StepTime, noise: float = 0.0, seed: int = 0, count: int = 400) -> list[StepSample]:
    """Iterations of all sizes; every second one has one or two prefill chunks, some with tokens before them."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        chunks = np.zeros(0, dtype=int) if index % 2 else (2.0 ** rng.uniform(4, 10.5, rng.integers(1, 3))).astype(int)
        past = rng.integers(0, 3, len(chunks)) * 400
        batch = int(rng.integers(1, 200))
        load = int(chunks.sum()), batch, batch * int(rng.integers(50, 2000)), int((chunks**2).sum())
        before = int((chunks * past).sum())
        made.append(StepSample(*load, model(*load, before) * rng.lognormal(0.0, noise), before))
    return made


@pytest.mark.parametrize(("model", "form"), [(TRUE, "linear"), (ROOFLINE, "roofline")])
def test_fit_recovers_model_and_form(model: StepTime, form: str) -> None:
    report = fit(samples(model), "again")
    for load in ((0, 100, 80_000, 0), (16, 60, 40_000, 256), (512, 60, 40_000, 512**2), (512, 0, 0, 512**2, 512 * 800)):
        assert report.model(*load) == pytest.approx(model(*load), rel=1e-6)
    assert report.tried[form] == min(report.tried.values()) == report.mixed.cv_mape < 1e-6
    assert report.decode.r_squared == report.decode.cv_r_squared == pytest.approx(1.0)
    if form == "roofline":
        assert report.form == "roofline"
        assert report.tried["linear"] > 0.01


def test_the_roofline_is_refused_where_it_only_fits_noise() -> None:
    report = fit(samples(TRUE, noise=0.05, count=120), "noisy")
    assert report.form == min(report.tried, key=report.tried.__getitem__)
    assert report.mixed.cv_mape == report.tried[report.form] == pytest.approx(0.04, abs=0.015)
    assert report.mixed.mape < report.mixed.cv_mape
    assert report.mixed.r_squared > report.mixed.cv_r_squared > 0.9


def test_fit_bears_noise_and_counts_outliers() -> None:
    noisy = samples(TRUE, 0.03)
    noisy[7] = dataclasses.replace(noisy[7], duration_s=30.0)  # a pause of the host
    report = fit(noisy, "noisy")
    assert (report.decode.outliers, report.mixed.outliers, report.samples) == (1, 0, 399)
    for load in ((0, 100, 80_000, 0), (0, 10, 5_000, 0), (512, 60, 40_000, 512**2)):
        assert report.model(*load) == pytest.approx(TRUE(*load), rel=0.03)


def test_chunks_with_nothing_before_them_leave_their_price_to_the_rule() -> None:
    fresh = [
        dataclasses.replace(one, prefill_context=0) for one in samples(dataclasses.replace(TRUE, prefill_context=0.0))
    ]
    model = fit(fresh, "fresh").model
    assert model.prefill_context is None
    assert model.prefill_context_s == 2 * model.mixed[4] > 0.0


@pytest.mark.parametrize("keep", ["decode", "prefill"])
def test_fit_needs_both_regimes(keep: str) -> None:
    some = [sample for sample in samples(TRUE) if (sample.prefill_tokens > 0) == (keep == "prefill")]
    with pytest.raises(AndesError, match=r"0 .* iterations, need 20"):
        fit(some, "half")
    with pytest.raises(AndesError, match="need 20"):
        fit([], "nothing")
