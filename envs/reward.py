"""The reward: named terms, weighted by configuration and logged apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.config import RewardConfig

Value = TypeVar("Value", float, NDArray[np.float64])

TERMS = ("qoe", "preemption", "reference")
"""Names of the terms: the fields of `RewardConfig`."""


def weighted(weights: RewardConfig, terms: Mapping[str, Value]) -> Value:
    """The reward of one step."""
    return (
        weights.qoe * terms["qoe"] + weights.preemption * terms["preemption"] + weights.reference * terms["reference"]
    )
