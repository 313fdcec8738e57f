"""A policy that was never trained: it moves every knob soundly, and means nothing by it."""

from __future__ import annotations

import numpy as np

from andes_engine.action import ActionSpec
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle

ACTION = ActionSpec()
"""The default knobs around their defaults."""


def random_bundle(name: str, seed: int, scale: float = 0.1, units: int = 8) -> Bundle:
    """A policy with random weights."""
    rng = np.random.default_rng(seed)
    sizes = ((units, OBSERVATION_SIZE), (ACTION.size, units))
    layers = tuple(
        ((scale * rng.normal(size=size)).astype(np.float32), np.zeros(size[0], np.float32)) for size in sizes
    )
    return Bundle(name, layers, ACTION, 1.0)
