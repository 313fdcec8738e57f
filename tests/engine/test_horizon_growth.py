"""A horizon that grows with what there is still to read: the knob `horizon_growth`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.sim.run import run_simulated
from andes_engine.step_time import preset
from andes_engine.survey import Survey, horizon_seconds
from andes_engine.workload import Workload

NOBODY = Survey(0, 0, 0, 0, np.inf, 0, 0, 0, 0, 0.0)


def horizon_s(live: int, reading_s: float, **knobs: float) -> float:
    return float(horizon_seconds(NOBODY._replace(live=live, reading_s=reading_s), Knobs(knobs).vector))


def test_it_is_fixed_as_in_the_paper_unless_asked_to_grow() -> None:
    assert horizon_s(3, 3 * 700.0, horizon_s=25.0) == 25.0


@pytest.mark.parametrize(
    ("mean_s", "growth", "times"), [(40.0, 1.0, 1.0), (160.0, 1.0, 4.0), (160.0, 0.5, 2.0), (10.0, 0.5, 0.5)]
)
def test_it_grows_with_the_mean_of_what_readers_still_need(mean_s: float, growth: float, times: float) -> None:
    assert horizon_s(5, 5 * mean_s, horizon_s=30.0, horizon_growth=growth) == pytest.approx(30.0 * times)


@pytest.mark.parametrize("unknown", [math.nan, 0.0])
def test_it_is_fixed_where_nobody_knows_what_is_to_come(unknown: float) -> None:
    assert horizon_s(4, unknown, horizon_s=30.0, horizon_growth=1.0) == 30.0


def long_answers(requests: int, output_tokens: int) -> Workload:
    """Many at once, more than the engine bears, each of which takes minutes to read."""
    rng = np.random.default_rng(3)
    arrival_s = np.sort(rng.uniform(0.0, 120.0, requests))
    outputs = rng.integers(output_tokens // 2, output_tokens * 3 // 2, requests)
    ones = np.ones(requests)
    return Workload("long answers", arrival_s, np.full(requests, 200), outputs, ones, 0.1 * ones)


ENGINE = EngineConfig("h100_llama3_8b", preset("h100_llama3_8b"), 1_000)


def mean_qoe(workload: Workload, lengths: str, **knobs: float) -> float:
    return float(run_simulated(ENGINE, workload, Contender("andes", "andes", knobs, lengths=lengths)).qoe.mean())


def test_where_answers_are_long_a_longer_horizon_serves_better() -> None:
    workload = long_answers(300, 1500)
    fixed, growing = (mean_qoe(workload, "exact", horizon_s=30.0, horizon_growth=growth) for growth in (0.0, 1.0))
    assert growing > fixed + 0.01


def test_without_a_length_source_the_knob_changes_nothing() -> None:
    workload = long_answers(300, 1500)
    fixed, growing = (mean_qoe(workload, "none", horizon_s=30.0, horizon_growth=growth) for growth in (0.0, 1.0))
    assert fixed == growing < 1.0
