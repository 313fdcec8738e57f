"""The simulator's decisions one by one, for comparison with another engine's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from andes_engine.decision_buffers import empty_decision
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.schedulers import OWN
from andes_engine.schedulers.own import load_score, score_live
from andes_engine.sim import state as st
from andes_engine.sim.decoders import no_decoders
from andes_engine.sim.lifecycle import ready
from andes_engine.sim.load import LOAD_SIZE
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.sim.step import advance
from andes_engine.workload import Workload


class LoggedStep(NamedTuple):
    """One iteration of an engine. Requests are numbered as in the workload.

    Attributes:
        start_s: When it began, s.
        duration_s: How long it took, s.
        computed: Each scheduled request and the tokens of it that are in the KV cache afterwards, by request.
        preempted: Requests that lost their KV cache, by request.
    """

    start_s: float
    duration_s: float
    computed: tuple[tuple[int, int], ...]
    preempted: tuple[int, ...]


def simulated_steps(
    engine: EngineConfig, workload: Workload, scheduler: str, knobs: Knobs | None = None, lengths: str = "none"
) -> tuple[Simulator, list[LoggedStep]]:
    """Run a workload until drained, iteration by iteration; returns the drained simulator and what each iteration did."""
    simulator = Simulator([engine], len(workload), int(workload.output_tokens.sum()), int(workload.user.max()) + 1)
    simulator.reset(0, workload, scheduler, knobs or Knobs(), lengths)
    mine, steps = simulator.of(0), []
    score = load_score(scheduler) if mine.limits[st.L_SCHEDULER] == OWN else None
    plan = empty_decision.py_func(mine.running.shape[0], mine.waiting.shape[0])
    scheduled, load = np.zeros(mine.running.shape[0], dtype=np.int64), np.zeros(LOAD_SIZE, dtype=np.int64)
    nobody = no_decoders.py_func(mine.running.shape[0], 0)
    table, registers = mine.table, mine.registers
    while ready(mine, DRAIN):
        if score is not None:
            live = [mine.running[: registers[st.R_RUNNING]], mine.waiting[: registers[st.R_WAITING]]]
            score_live(score, scheduler, table, np.concatenate(live), float(mine.now_s[0]))
        start_s, preemptions = float(mine.now_s[0]), table["preemptions"].copy()
        computed = table["computed_tokens"].copy()
        advance(mine, float(np.nextafter(start_s, np.inf)), plan, scheduled, load, nobody)  # one iteration
        lost = np.flatnonzero(table["preemptions"] != preemptions)
        moved = np.flatnonzero(table["computed_tokens"] > np.where(table["preemptions"] != preemptions, 0, computed))
        after = tuple((int(row), int(table["computed_tokens"][row])) for row in moved)
        steps.append(LoggedStep(start_s, float(mine.now_s[0]) - start_s, after, tuple(lost.tolist())))
    return simulator, steps
