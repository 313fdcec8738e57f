"""What an episode has looked like so far, decision by decision, for those who watch it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.knobs import KNOB_NAMES
from andes_engine.observation import FEATURES

FloatArray = NDArray[np.float64]

_INDEX = {feature.name: number for number, feature in enumerate(FEATURES)}


class Trail:
    """Engine state and knobs at each decision of an episode; arrays have shape (decisions + 1,) unless said otherwise."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, float, float, float]] = []
        self._knobs: list[FloatArray] = []
        self._actions: list[FloatArray] = []

    def note(
        self,
        now_s: float,
        observation: NDArray[np.float32],
        preemptions: int,
        knobs: FloatArray,
        action: NDArray[np.floating],
    ) -> None:
        """One more decision interval is over.

        Args:
            now_s: Engine clock, s.
            observation: What a policy sees now.
            preemptions: So far.
            knobs: In force up to now.
            action: What set them.
        """
        waiting = float(np.expm1(5.0 * observation[_INDEX["waiting"]]))
        self._rows.append((now_s, float(observation[_INDEX["kv_used"]]), waiting, float(preemptions)))
        self._knobs.append(knobs.copy())
        self._actions.append(np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0))

    @property
    def at_s(self) -> FloatArray:
        """Engine clock, s."""
        return np.array(self._rows)[:, 0]

    @property
    def kv_used(self) -> FloatArray:
        """Share of KV blocks in use."""
        return np.array(self._rows)[:, 1]

    @property
    def waiting(self) -> FloatArray:
        """Waiting requests."""
        return np.array(self._rows)[:, 2]

    @property
    def preemptions(self) -> FloatArray:
        """Preemptions so far."""
        return np.array(self._rows)[:, 3]

    @property
    def actions(self) -> FloatArray:
        """Actions, clipped to [-1, 1]. Shape (decisions + 1, k)."""
        return np.array(self._actions)

    def knob(self, name: str) -> FloatArray:
        """One knob."""
        return np.array(self._knobs)[:, KNOB_NAMES.index(name)]
