"""One contender through one workload in the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.policy.bundle import Bundle
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.workload import Workload

Advance = Callable[[Simulator, float], None]
"""Runs a simulator until a time, as `Simulator.advance` does."""


def run_simulated(
    engine: EngineConfig,
    workload: Workload,
    contender: Contender,
    token_log: bool = False,
    until_s: float = DRAIN,
    advance: Advance = Simulator.advance,
) -> RunRecord:
    """Run a workload, drained unless `until_s` is given; a bundle sets the knobs at its decision interval.

    `advance` may look at the simulator on the way (`sampled.Sampler`).

    The record of a contender that is told true output lengths says so: in its name, and as `notes["clairvoyant"]`.

    Raises:
        CapacityError: If a request does not fit the engine.
        SchedulerError: If a user's own scheduler fails or answers wrongly.
    """
    engine = engine.keeping_kv(contender.keep_kv)
    log = int(workload.output_tokens.sum()) if token_log else 0
    simulator = Simulator([engine], len(workload), log, users=int(workload.user.max()) + 1)
    lengths = contender.lengths, contender.length_sigma
    simulator.reset(0, workload, contender.scheduler, contender.start_knobs, *lengths)
    if contender.bundle is None:
        advance(simulator, until_s)
    else:
        _run_policy(simulator, contender.bundle, until_s, advance)
    record = simulator.record(0, contender.label)
    return replace(record, notes={**record.notes, "clairvoyant": 1.0}) if contender.clairvoyant else record


def _run_policy(simulator: Simulator, bundle: Bundle, until_s: float, advance: Advance) -> None:
    act, decision_s = bundle.actor(), 0.0
    while not simulator.drained(0) and decision_s < until_s:
        observation = simulator.observations()[0]
        simulator.set_knobs(0, bundle.action.knob_vector(np.asarray(act(observation))))
        decision_s += bundle.decision_interval_s
        advance(simulator, min(decision_s, until_s))
