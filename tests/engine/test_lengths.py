from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.lengths import (
    EXACT,
    HAZARD,
    LENGTH_SOURCES,
    NOISY,
    UNKNOWN,
    expected_remaining,
    hazard_state,
    length_hints,
    length_source,
    observe_censored,
    observe_finish,
)

PROMPT = 300


@numba.njit
def learn(state: np.ndarray, prompt: int, outputs: np.ndarray) -> None:
    for output in outputs:
        observe_finish(state, prompt, output)


def remaining(state: np.ndarray, emitted: int, prompt: int = PROMPT) -> float:
    return expected_remaining(HAZARD, state, np.nan, prompt, emitted)


def outputs(family: str, count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if family == "geometric":
        return rng.geometric(1 / 300, count)
    if family == "uniform":
        return rng.integers(1, 1001, count)
    return np.maximum(np.rint(rng.lognormal(5.4, 0.9, count)), 1).astype(np.int64)


@pytest.mark.parametrize("family", ["geometric", "uniform", "lognormal"])
def test_converges_to_the_conditional_expectation(family: str) -> None:
    state = hazard_state(half_life_requests=np.inf)
    learn(state, PROMPT, outputs(family, 30_000))
    truth = outputs(family, 2_000_000, seed=2)
    for emitted in (0, 1, 7, 40, 150, 350, 600, 800):
        longer = truth[truth > emitted]
        assert remaining(state, emitted) == pytest.approx(longer.mean() - emitted, rel=0.05, abs=8.0), emitted


def test_geometric_outputs_have_no_memory() -> None:
    state = hazard_state(prior_mean_tokens=50.0, half_life_requests=np.inf)
    learn(state, PROMPT, outputs("geometric", 50_000))
    assert [remaining(state, emitted) for emitted in range(0, 900, 9)] == pytest.approx([300.0] * 100, rel=0.05)


def test_before_any_data_the_prior_answers_for_every_prompt() -> None:
    state = hazard_state(prior_mean_tokens=200.0)
    for prompt in (1, 500, 50_000):
        assert [remaining(state, e, prompt) for e in (0, 100, 500)] == pytest.approx([200.0] * 3, rel=0.05)


def test_adapts_after_a_shift_and_inf_does_not() -> None:
    forgetting, remembering = hazard_state(half_life_requests=200.0), hazard_state(half_life_requests=np.inf)
    for state in (forgetting, remembering):
        learn(state, PROMPT, outputs("uniform", 4000) // 5 + 1)
        assert remaining(state, 0) == pytest.approx(101.0, rel=0.05)
        learn(state, PROMPT, outputs("uniform", 1600) + 1000)
    assert remaining(forgetting, 0) == pytest.approx(1500.0, rel=0.05)
    assert remaining(remembering, 0) < 700.0


def test_an_observation_counts_half_after_the_half_life() -> None:
    state = hazard_state(half_life_requests=400.0)
    learn(state, PROMPT, np.full(20_000, 3))
    learn(state, PROMPT, np.full(400, 7))  # short outputs, where every token has its own bin
    assert remaining(state, 0) == pytest.approx(5.0, rel=0.02)


def test_prompt_classes_are_separate_and_a_new_one_starts_from_all() -> None:
    state = hazard_state()
    for short, long in zip(outputs("uniform", 2000) // 10 + 1, outputs("uniform", 2000, seed=3) + 1000, strict=True):
        observe_finish(state, 100, short)
        observe_finish(state, 5000, long)
    assert remaining(state, 0, 100) == pytest.approx(51.0, rel=0.15)
    assert remaining(state, 0, 5000) == pytest.approx(1500.0, rel=0.05)
    assert remaining(state, 0, 127) == remaining(state, 0, 64) != remaining(state, 0, 128)
    assert remaining(state, 0, 1000) == pytest.approx((51 + 1500) / 2, rel=0.1)


def test_censored_requests_correct_the_bias_of_the_finished_ones() -> None:
    truth = outputs("geometric", 20_000)
    naive, aware = hazard_state(half_life_requests=np.inf), hazard_state(half_life_requests=np.inf)
    for output in truth:
        if output <= 200:  # the client leaves at 200 tokens
            observe_finish(naive, PROMPT, output)
            observe_finish(aware, PROMPT, output)
        else:
            observe_censored(aware, PROMPT, 200)
    assert remaining(naive, 0) < 120.0
    at_200 = remaining(aware, 200)
    survive = (1 - 1 / 300) ** 200
    assert remaining(aware, 0) == pytest.approx(300.0 * (1 - survive) + survive * at_200, rel=0.05)


observations = st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 300_000)), max_size=60)


@given(observations, st.integers(0, 200_000), st.floats(1.0, 2000.0), st.floats(0.5, 1000.0))
def test_finite_at_least_one_and_the_expected_total_never_falls(
    seen: list, prompt: int, prior: float, half_life: float
) -> None:
    state = hazard_state(prior, half_life)
    for seen_prompt, seen_output in seen:
        observe_finish(state, seen_prompt, seen_output)
    emitted = np.unique(np.concatenate([np.arange(200), np.geomspace(200, 131_071, 300).astype(int)]))
    left = np.array([remaining(state, int(e), prompt) for e in emitted])
    assert np.isfinite(left).all()
    assert (left >= 1.0 - 1e-12).all()
    assert (np.diff(emitted + left) >= -1e-6).all()
    assert np.isfinite(remaining(state, 10**7, prompt))


@given(observations)
def test_the_same_observations_give_the_same_state(seen: list) -> None:
    first, second = hazard_state(), hazard_state()
    for state in (first, second):
        for prompt, output in seen:
            observe_finish(state, prompt, output)
    assert first.tobytes() == second.tobytes()


def test_exact_is_the_truth() -> None:
    truth = outputs("lognormal", 100)
    hints = length_hints(EXACT, truth, 0.6, np.random.default_rng(0))
    for output, hint in zip(truth, hints, strict=True):
        for emitted in (0, output // 2, output):
            assert expected_remaining(EXACT, hazard_state(), hint, PROMPT, emitted) == output - emitted


def test_noise_is_lognormal_and_drawn_once_per_request() -> None:
    truth = outputs("lognormal", 100_000)
    hints = length_hints(NOISY, truth, 0.6, np.random.default_rng(7))
    noise = np.log(hints / truth)
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    assert noise.std() == pytest.approx(0.6, rel=0.01)
    assert abs(np.corrcoef(noise, np.log(truth))[0, 1]) < 0.02
    assert np.array_equal(hints, length_hints(NOISY, truth, 0.6, np.random.default_rng(7)))
    assert length_hints(NOISY, truth, 0.0, np.random.default_rng(7)) == pytest.approx(truth)


def test_a_noisy_estimate_counts_down_then_grows_with_its_overrun() -> None:
    state = hazard_state()
    left = [expected_remaining(NOISY, state, 100.0, PROMPT, emitted) for emitted in (0, 60, 100, 101, 150, 300)]
    assert left == [100.0, 40.0, 1.0, 1.0, 50.0, 200.0]


def test_where_nothing_is_known_the_answer_is_nan() -> None:
    state, rng = hazard_state(), np.random.default_rng(0)
    for kind in (UNKNOWN, HAZARD):
        assert np.isnan(length_hints(kind, [3, 4], 0.6, rng)).all()
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert np.isnan(expected_remaining(UNKNOWN, state, 5.0, PROMPT, 0))
    assert np.isnan(expected_remaining(NOISY, state, np.nan, PROMPT, 0))
    assert np.isnan(expected_remaining(EXACT, state, np.nan, PROMPT, 0))


def test_sources_by_name() -> None:
    assert {name for name, source in LENGTH_SOURCES.items() if source.clairvoyant} == {"noisy", "exact"}
    assert len({source.kind for source in LENGTH_SOURCES.values()}) == len(LENGTH_SOURCES)
    assert all(length_source(name).name == name for name in LENGTH_SOURCES)
    with pytest.raises(UnknownNameError, match="'hazard'"):
        length_source("hazzard")


def test_bad_values_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(AndesError, match="number 9"):
        length_hints(9, [1], 0.1, rng)
    with pytest.raises(AndesError, match="sigma"):
        length_hints(NOISY, [1], float("nan"), rng)
    with pytest.raises(AndesError, match="output_tokens"):
        length_hints(EXACT, [5, 0], 0.1, rng)
    with pytest.raises(AndesError, match="prior_mean_tokens"):
        hazard_state(prior_mean_tokens=0.0)
    with pytest.raises(AndesError, match="half_life_requests"):
        hazard_state(half_life_requests=0.0)
