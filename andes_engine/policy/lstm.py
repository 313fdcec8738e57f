"""The recurrent part of a policy: one LSTM layer between the observation and the first layer, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import BundleError

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lstm:
    """Weights of an LSTM layer; gates in PyTorch's order: input, forget, cell, output.

    Args:
        input_weight: Shape (4 h, inputs), float32.
        state_weight: Shape (4 h, h), float32.
        bias: Shape (4 h,), float32; the sum of PyTorch's two.

    Raises:
        BundleError: If the shapes do not fit together, or a weight is NaN or infinite.
    """

    input_weight: FloatArray
    state_weight: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        gates, units = len(self.bias), len(self.bias) // 4
        if (
            gates == 0
            or gates % 4
            or self.bias.shape != (gates,)
            or self.state_weight.shape != (gates, units)
            or self.input_weight.ndim != 2
            or len(self.input_weight) != gates
        ):
            shapes = self.input_weight.shape, self.state_weight.shape, self.bias.shape
            raise BundleError(
                f"an LSTM of {units} units needs weights (4h, inputs), (4h, h) and bias (4h,), got {shapes}"
            )
        if not all(np.isfinite(array).all() for array in self.arrays):
            raise BundleError("the LSTM layer holds NaN or infinite weights; train again")

    @property
    def arrays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What it has learned."""
        return self.input_weight, self.state_weight, self.bias

    @property
    def inputs(self) -> int:
        """Entries of an observation."""
        return self.input_weight.shape[1]

    @property
    def units(self) -> int:
        """Entries of the hidden state."""
        return len(self.bias) // 4

    def step(self, observation: FloatArray, hidden: FloatArray, cell: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hidden state and cell after one more observation. Shape (..., inputs) -> 2 x (..., units)."""
        gates = observation @ self.input_weight.T + hidden @ self.state_weight.T + self.bias
        enter, forget, new, leave = np.split(gates, 4, axis=-1)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(new)
        return _sigmoid(leave) * np.tanh(cell), cell


def _sigmoid(values: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * values))  # by tanh, which cannot overflow
