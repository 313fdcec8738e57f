"""What an environment needs of an engine; the simulator and live vLLM both offer it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from andes_engine.records import RunRecord
from envs.config import EnvConfig
from envs.episodes import Episode


class EnvEngine(Protocol):
    """One engine under one environment. Built from an `EnvConfig`."""

    def __init__(self, config: EnvConfig) -> None: ...

    @classmethod
    def twin(cls, config: EnvConfig) -> EnvEngine:
        """A second engine that runs the reference knobs alongside; AndesError where there can be none."""

    def reset(self, episode: Episode) -> None:
        """Start an episode at time 0 with the reference knobs."""

    def set_knobs(self, vector: NDArray[np.float64]) -> None:
        """Knobs from now on."""

    def advance(self, until_s: float) -> None:
        """Run until `until_s` or until drained."""

    def observe(self) -> NDArray[np.float32]:
        """What a policy sees now."""

    def potential(self) -> float:
        """Sum of the workload's best-case QoE now."""

    def preemptions(self) -> int:
        """Preemptions so far."""

    def record(self) -> RunRecord:
        """Outcome so far."""

    @property
    def drained(self) -> bool:
        """Whether every request has finished."""

    @property
    def now_s(self) -> float:
        """Engine clock, s."""

    def close(self) -> None:
        """Free the engine."""
