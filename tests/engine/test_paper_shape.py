"""The paper's shape in the simulator: what Andes gains in a burst, what it must not lose, and what control of preemption is for.

The bars are those that each seed here passes; `make shape` shows the numbers over more seeds and settings.
"""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine.report.shape import RECOMPUTED, Arm, Case, Statement, measure
from andes_engine.report.shape_settings import ANDES, COMPUTE_BOUND, FCFS, STATEMENTS, STUDY, case
from andes_engine.workload.arrivals import Poisson
from andes_engine.workload.generate import WorkloadSpec
from andes_engine.workload.lengths import LENGTHS
from andes_engine.workload.readers import ReaderMix

SEEDS = (0, 1)


def qoe(statement: Statement, key: str = "qoe_mean") -> dict[tuple[str, str], np.ndarray]:
    return {pair: columns[key] for pair, columns in measure(statement, SEEDS).items()}


@pytest.mark.slow
@pytest.mark.parametrize(("load", "times"), [(1.0, 2.5), (1.2, 3.5)])
def test_andes_multiplies_the_qoe_of_fcfs_in_a_burst(load: float, times: float) -> None:
    """The paper says up to 4.7x. At load 1.0 the ratio depends on the seed: 2.9x to 3.6x seen, so the bar there is lower."""
    setting = case(STUDY, "sharegpt_multi_round", load)
    found = qoe(Statement("burst", (setting,), (FCFS, ANDES)))
    assert (found[setting.name, ANDES.name] >= times * found[setting.name, FCFS.name]).all()


def test_nothing_is_lost_at_light_load() -> None:
    setting = case(STUDY, "sharegpt_multi_round", 0.3)
    found = measure(Statement("light", (setting,), (FCFS, ANDES)), SEEDS)
    andes, fcfs = found[setting.name, ANDES.name], found[setting.name, FCFS.name]
    assert (andes["qoe_mean"] >= fcfs["qoe_mean"] - 1e-3).all()
    assert (andes["preemptions_per_request"] == 0.0).all()


@pytest.mark.slow
def test_long_prompts_need_control_and_the_refiner_is_one() -> None:
    control = STATEMENTS["control"]
    setting = control.cases[0]
    found = measure(Statement("control", (setting,), control.arms), SEEDS)
    arm = {name: columns for (_, name), columns in found.items()}
    wild, refined, default, priced = (
        arm[name] for name in ("uncontrolled", "uncontrolled but refined", "default", "default, waiting priced")
    )
    assert (wild["qoe_mean"] < 0.5 * arm[FCFS.name]["qoe_mean"]).all()  # the loss
    assert (wild["qoe_mean"] < 0.5 * refined["qoe_mean"]).all()
    assert (wild[RECOMPUTED] > 2.0 * refined[RECOMPUTED]).all()
    assert (default["qoe_mean"] > arm[FCFS.name]["qoe_mean"]).all()  # the cure
    assert (priced["qoe_mean"] > default["qoe_mean"]).all()


@pytest.mark.slow
def test_pausing_pays_where_compute_binds() -> None:
    """A third of the readers is strict; the batch fits in memory but is too slow for them."""
    readers = ReaderMix((0.06, 0.3), (0.3, 0.7))
    traffic = WorkloadSpec("mixed", Poisson(), LENGTHS["sharegpt"], readers, duration_s=300.0, load=0.7)
    setting = Case("compute-bound", COMPUTE_BOUND, traffic)
    never, ahead = Arm("never"), Arm("32 ahead", knobs={"pause_threshold_tokens": 32.0})
    found = qoe(Statement("pause", (setting,), (never, ahead)))
    assert (found[setting.name, "32 ahead"] >= found[setting.name, "never"] - 1e-3).all()
    assert found[setting.name, "32 ahead"].mean() > found[setting.name, "never"].mean() + 0.003
