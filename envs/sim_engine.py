"""The simulator as an environment's engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import Simulator
from envs.config import EnvConfig
from envs.episodes import Episode


class SimEngine:
    """One simulated engine, rebuilt for each episode."""

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._simulator: Simulator

    @classmethod
    def twin(cls, config: EnvConfig) -> SimEngine:
        """A second engine that runs the reference knobs alongside."""
        return cls(config)

    def reset(self, episode: Episode) -> None:
        """Start an episode at time 0 with the reference knobs."""
        config, workload = self._config, episode.workload
        tokens, users = int(workload.output_tokens.sum()), int(workload.user.max()) + 1
        self._simulator = Simulator([episode.engine], len(workload), tokens, users)
        lengths = config.lengths, config.length_sigma
        self._simulator.reset(0, workload, config.scheduler, config.action.knobs, *lengths)

    def set_knobs(self, vector: NDArray[np.float64]) -> None:
        """Knobs from now on."""
        self._simulator.set_knobs(0, vector)

    def advance(self, until_s: float) -> None:
        """Run until `until_s` or until drained."""
        self._simulator.advance(until_s)

    def observe(self) -> NDArray[np.float32]:
        """What a policy sees now."""
        return self._simulator.observations()[0]

    def potential(self) -> float:
        """Sum of the workload's best-case QoE now."""
        return self._simulator.potential(0)

    def preemptions(self) -> int:
        """Preemptions so far."""
        return int(self._simulator.engines.counters[0, ct.PREEMPTIONS])

    def record(self) -> RunRecord:
        """Outcome so far."""
        return self._simulator.record(0, self._config.scheduler)

    @property
    def drained(self) -> bool:
        """Whether every request has finished."""
        return self._simulator.drained(0)

    @property
    def now_s(self) -> float:
        """Engine clock, s."""
        return float(self._simulator.engines.now_s[0, 0])

    def close(self) -> None:
        """Nothing to free."""
