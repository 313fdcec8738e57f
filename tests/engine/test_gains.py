"""Gains of many requests at once are those of one at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from andes_engine import decision_buffers as db
from andes_engine.gains import gains_in_pace
from andes_engine.schedulers.andes import Standing, delay_cost

NOW_S = 100.0


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 1.0]), st.floats(1.0, 400.0), st.floats(0.001, 0.15))
def test_gains_in_pace_are_delay_costs_to_the_bit(seed: int, sunk: float, horizon_s: float, step_s: float) -> None:
    """Readers ahead and behind, due right at the horizon, with and without an expected length."""
    rng, n = np.random.default_rng(seed), 37
    facts = np.zeros((8, n))
    facts[db.LATENCY_S] = rng.choice([0.15, 0.2, 0.25], n)
    facts[db.EMITTED] = rng.integers(0, 400, n)
    facts[db.REMAINING] = np.where(rng.random(n) < 0.5, np.nan, rng.uniform(0.0, 300.0, n))
    facts[db.DUE_S] = NOW_S + rng.choice([-30.0, -0.01, 0.0, step_s, step_s + horizon_s, 5.0, 1000.0], n)
    facts[db.LATE_S] = np.maximum(rng.normal(0.0, 3.0, n), 0.0)
    facts[db.LAG_SUM_S] = rng.uniform(0.0, 50.0, n)
    resume_s = np.maximum(rng.normal(0.0, 0.2, n), 0.0)
    gain = np.zeros(n)
    gains_in_pace(NOW_S, step_s, horizon_s, sunk, resume_s, facts, gain)
    kinds = (db.EMITTED, db.LATENCY_S, db.REMAINING, db.DUE_S, db.LATE_S, db.LAG_SUM_S)
    for index in range(n):
        reader = Standing(*(float(facts[kind, index]) for kind in kinds))
        start_s = NOW_S + max(resume_s[index], step_s)
        assert gain[index] == delay_cost(reader, start_s, horizon_s, step_s, horizon_s, sunk)
