from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.step_time import StepSample, StepTime, fit, prefill_seconds, preset, presets

TRUE = StepTime("true", (0.011, 37e-6, 0.08e-6), (0.0098, 44e-6, 50e-6, 0.079e-6, 18.6e-9))


def samples(noise: float, seed: int = 0, count: int = 400) -> list[StepSample]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        prefill = 0 if index % 2 else int(rng.integers(1, 2048))
        batch = int(rng.integers(1, 200))
        context = batch * int(rng.integers(50, 2000))
        load = prefill, batch, context, prefill * int(rng.integers(1, 1 + prefill)) if prefill else 0
        made.append(StepSample(*load, TRUE(*load) * rng.lognormal(0.0, noise)))
    return made


def test_fit_recovers_the_coefficients() -> None:
    report = fit(samples(0.0), "again")
    assert report.model.decode == pytest.approx(TRUE.decode, rel=1e-6)
    assert report.model.mixed == pytest.approx(TRUE.mixed, rel=1e-6)
    assert report.r_squared == pytest.approx(1.0)
    assert report.median_abs_error < 1e-9


def test_fit_bears_noise_and_outliers() -> None:
    noisy = samples(0.03)
    noisy[7] = dataclasses.replace(noisy[7], duration_s=30.0)  # a pause of the host
    model = fit(noisy, "noisy").model
    for load in ((0, 100, 80_000, 0), (0, 10, 5_000, 0), (512, 60, 40_000, 512**2)):
        assert model(*load) == pytest.approx(TRUE(*load), rel=0.02)


@pytest.mark.parametrize("keep", ["decode", "prefill"])
def test_fit_needs_both_regimes(keep: str) -> None:
    some = [sample for sample in samples(0.0) if (sample.prefill_tokens > 0) == (keep == "prefill")]
    with pytest.raises(AndesError, match=r"0 .* iterations, need 20"):
        fit(some, "half")
    with pytest.raises(AndesError, match="need 20"):
        fit([], "nothing")


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_are_plausible_and_grow_with_the_load(name: str) -> None:
    model = preset(name)
    assert 0.001 < model(0, 1, 500, 0) < 0.1
    assert model(0, 50, 50_000, 0) > model(0, 1, 500, 0)
    assert model(2048, 0, 0, 2048**2) > model(256, 0, 0, 256**2)
    assert EngineConfig("e", name, 100).step_time == model  # type: ignore[arg-type]


def test_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'a100_llama3_8b'"):
        preset("a100_llama3_8")


def test_host_time_is_added_to_every_iteration() -> None:
    slower = dataclasses.replace(TRUE, host_s=0.5)
    for load in ((0, 3, 300, 0), (100, 3, 300, 10_000)):
        assert slower(*load) == pytest.approx(TRUE(*load) + 0.5)


def test_prefill_in_one_chunk_is_one_iteration() -> None:
    assert prefill_seconds(TRUE.vector, 300, 2048) == pytest.approx(TRUE(300, 0, 0, 300**2))
    assert prefill_seconds(TRUE.vector, 4096, 2048) == pytest.approx(2 * TRUE(2048, 0, 0, 2048**2))
