"""The paper's shape in the simulator: what Andes gains in a burst, what it must not lose, and what control of preemption is for.

The bars are those that each seed here passes; `make reproduce` shows the numbers over more seeds and settings.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.config import WorkloadSettings
from agents.reproduction.statement import Arm, Case, Found, Statement
from agents.reproduction.statements import ANDES, COMPUTE_BOUND, FCFS, MIXED_READERS, STATEMENTS, STUDY, case
from agents.run_suite import run_suite
from agents.suite import Suite

SEEDS = 2


def found(statement: Statement, folder: Path) -> Found:
    return statement.found(run_suite(Suite("shape", tuple(statement.settings(SEEDS))), (), folder, workers=1))


@pytest.mark.slow
@pytest.mark.parametrize(("load", "times"), [(1.0, 2.5), (1.2, 3.5)])
def test_andes_multiplies_the_qoe_of_fcfs_in_a_burst(load: float, times: float, tmp_path: Path) -> None:
    """The paper says up to 4.7x. At load 1.0 the ratio depends on the seed: 2.9x to 3.6x seen, so the bar there is lower."""
    setting = case(STUDY, "sharegpt_multi_round", load)
    by_arm = found(Statement("burst", "", (setting,), (FCFS, ANDES)), tmp_path)
    andes, fcfs = (by_arm[setting.name, arm.name]["qoe_mean"] for arm in (ANDES, FCFS))
    assert (andes >= times * fcfs).all()


def test_nothing_is_lost_at_light_load(tmp_path: Path) -> None:
    setting = case(STUDY, "sharegpt_multi_round", 0.3)
    by_arm = found(Statement("light", "", (setting,), (FCFS, ANDES)), tmp_path)
    andes, fcfs = by_arm[setting.name, ANDES.name], by_arm[setting.name, FCFS.name]
    assert (andes["qoe_mean"] >= fcfs["qoe_mean"] - 1e-3).all()
    assert (andes["preemptions_per_request"] == 0.0).all()


@pytest.mark.slow
def test_long_prompts_need_control_and_the_refiner_is_one(tmp_path: Path) -> None:
    control = STATEMENTS["control"]
    by_arm = found(replace(control, cases=control.cases[:1]), tmp_path)
    arm = {name: columns for (_, name), columns in by_arm.items()}
    wild, refined, default, priced = (
        arm[name] for name in ("uncontrolled", "uncontrolled but refined", "default", "default, waiting priced")
    )
    assert (wild["qoe_mean"] < 0.5 * arm[FCFS.name]["qoe_mean"]).all()  # the loss
    assert (wild["qoe_mean"] < 0.5 * refined["qoe_mean"]).all()
    assert (wild["recomputed_per_request"] > 2.0 * refined["recomputed_per_request"]).all()
    assert (default["qoe_mean"] > arm[FCFS.name]["qoe_mean"]).all()  # the cure
    assert (priced["qoe_mean"] > default["qoe_mean"]).all()


@pytest.mark.slow
def test_pausing_pays_where_compute_binds(tmp_path: Path) -> None:
    """A third of the readers is strict; the batch fits in memory but is too slow for them."""
    traffic = WorkloadSettings("mixed", "poisson", "sharegpt", MIXED_READERS, duration_s=300.0)
    setting = Case("compute-bound", COMPUTE_BOUND, traffic, 0.7)
    never, ahead = Arm("never"), Arm("32 ahead", knobs={"pause_threshold_tokens": 32.0})
    by_arm = found(Statement("pause", "", (setting,), (never, ahead)), tmp_path)
    paused, plain = (by_arm[setting.name, name]["qoe_mean"] for name in ("32 ahead", "never"))
    assert (paused >= plain - 1e-3).all()
    assert paused.mean() > plain.mean() + 0.003
