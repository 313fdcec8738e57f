"""One contender through one workload in the simulator."""

from __future__ import annotations

import numpy as np

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.policy.bundle import Bundle
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.workload import Workload


def run_simulated(
    engine: EngineConfig,
    workload: Workload,
    contender: Contender,
    token_log: bool = False,
    until_s: float = DRAIN,
    lengths: str = "none",
    length_sigma: float = 0.6,
) -> RunRecord:
    """Run a workload, drained unless `until_s` is given; a bundle sets the knobs at its decision interval.

    Raises:
        CapacityError: If a request does not fit the engine.
    """
    log = int(workload.output_tokens.sum()) if token_log else 0
    simulator = Simulator([engine], len(workload), log, int(workload.user.max()) + 1)
    simulator.reset(0, workload, contender.scheduler, contender.start_knobs, lengths, length_sigma)
    if contender.bundle is None:
        simulator.advance(until_s)
    else:
        _run_policy(simulator, contender.bundle, until_s)
    return simulator.record(0, contender.name)


def _run_policy(simulator: Simulator, bundle: Bundle, until_s: float) -> None:
    decision_s = 0.0
    while not simulator.drained(0) and decision_s < until_s:
        observation = simulator.observations()[0]
        simulator.set_knobs(0, bundle.action.knob_vector(np.asarray(bundle.act(observation))))
        decision_s += bundle.decision_interval_s
        simulator.advance(min(decision_s, until_s))
