"""The spaces of every environment, from the specifications."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from andes_engine.action import ActionSpec
from andes_engine.observation import BOUND, OBSERVATION_SIZE


def observation_space() -> Space[NDArray[np.float32]]:
    """Box of `andes_engine.observation.FEATURES`."""
    return Box(-BOUND, BOUND, (OBSERVATION_SIZE,), dtype=np.float32)


def action_space(spec: ActionSpec) -> Space[NDArray[np.float32]]:
    """Box of an action: one entry per knob it moves."""
    return Box(-1.0, 1.0, (spec.size,), dtype=np.float32)
