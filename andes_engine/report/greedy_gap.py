"""How far the greedy knapsack is from the optimum on decisions that were really taken, and what the optimum costs in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import AndesError, CapacityError
from andes_engine.knapsack import pack_sorted
from andes_engine.knapsack_exact import exact_memory_bytes, pack_exact

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_EXACT_BYTES = 4 * 2**30
"""Larger instances are refused: the exact packer may need this much memory."""


class KnapsackInstance(NamedTuple):
    """One decision: whom to serve.

    Args:
        gain: QoE gain of serving each request over the horizon. Shape (n,), dimensionless.
        weight_blocks: KV blocks each request needs, >= 0. Shape (n,).
        capacity_blocks: KV blocks to share out, >= 0.
        max_batch: Requests at most, >= 0.
        priority: What greedy sorts by, falling; without it, gain per block as in the paper. Shape (n,).
    """

    gain: FloatArray
    weight_blocks: IntArray
    capacity_blocks: int
    max_batch: int
    priority: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class GreedyGaps:
    """Greedy against exact, instance by instance.

    Args:
        greedy: Total gain of the greedy choice. Shape (instances,).
        exact: Largest total gain. Shape (instances,).
        greedy_s: Time greedy took, sorting included, s. Shape (instances,).
        exact_s: Time the exact packer took, s. Shape (instances,).
    """

    greedy: FloatArray
    exact: FloatArray
    greedy_s: FloatArray
    exact_s: FloatArray

    @property
    def relative(self) -> FloatArray:
        """Share of the optimum that greedy misses; 0 where there is nothing to gain. Shape (instances,)."""
        missed = np.maximum(self.exact - self.greedy, 0.0)  # both are sums of floats, in another order
        return np.divide(missed, self.exact, out=np.zeros_like(missed), where=self.exact > 0.0)

    @property
    def time_ratio(self) -> float:
        """Median over instances of how many times longer the exact packer takes."""
        return float(np.median(self.exact_s / self.greedy_s))


def greedy_gap(
    gain: FloatArray,
    weight_blocks: IntArray,
    capacity_blocks: int,
    max_batch: int,
    priority: FloatArray | None = None,
) -> tuple[float, float]:
    """Total gain of the greedy choice and of the best one; arguments as in `KnapsackInstance`.

    Raises:
        AndesError: If the arrays do not belong together, or hold NaN or a negative weight.
        CapacityError: If a limit is negative or the exact packer would need more than `MAX_EXACT_BYTES`.
    """
    instance = _checked(KnapsackInstance(gain, weight_blocks, capacity_blocks, max_batch, priority))
    return _greedy(instance), _exact(instance)


def greedy_gaps(instances: Sequence[KnapsackInstance]) -> GreedyGaps:
    """Compare and time both packers on recorded decisions.

    Raises:
        AndesError: If there is no instance, or for one that `greedy_gap` would refuse.
    """
    if not instances:
        raise AndesError("no knapsack instances: record some decisions first")
    checked = [_checked(instance) for instance in instances]
    _timed(_greedy, checked[0]), _timed(_exact, checked[0])  # compiles
    greedy = np.array([_timed(_greedy, instance) for instance in checked])
    exact = np.array([_timed(_exact, instance) for instance in checked])
    return GreedyGaps(greedy[:, 0], exact[:, 0], greedy[:, 1], exact[:, 1])


def _timed(packer: Callable[[KnapsackInstance], float], instance: KnapsackInstance) -> tuple[float, float]:
    start_s = perf_counter()
    total = packer(instance)
    return total, perf_counter() - start_s


def _greedy(instance: KnapsackInstance) -> float:
    gain, weight, capacity, batch, priority = instance
    if priority is None:
        free = np.where(gain > 0.0, np.inf, gain)  # what weighs nothing and gains something goes first
        priority = np.divide(gain, weight, out=free, where=weight > 0)
    order = np.argsort(-priority, kind="stable")
    return float(pack_sorted(order, gain, weight, capacity, batch, np.empty(len(gain), np.bool_)))


def _exact(instance: KnapsackInstance) -> float:
    gain, weight, capacity, batch, _ = instance
    return float(pack_exact(gain, weight, capacity, batch, np.empty(len(gain), np.bool_)))


def _checked(instance: KnapsackInstance) -> KnapsackInstance:
    gain = np.ascontiguousarray(instance.gain, dtype=np.float64)
    weight = np.ascontiguousarray(instance.weight_blocks, dtype=np.int64)
    priority = None if instance.priority is None else np.ascontiguousarray(instance.priority, dtype=np.float64)
    shapes = [array.shape for array in (gain, weight, priority) if array is not None]
    if gain.ndim != 1 or any(shape != gain.shape for shape in shapes):
        raise AndesError(f"gain, weight_blocks and priority need one entry for each request, got shapes {shapes}")
    if not np.isfinite(gain).all() or (weight < 0).any() or (priority is not None and np.isnan(priority).any()):
        raise AndesError("gains must be finite, weights >= 0 blocks and priorities not NaN")
    capacity, batch = int(instance.capacity_blocks), int(instance.max_batch)
    if capacity < 0 or batch < 0:
        raise CapacityError(f"capacity_blocks = {capacity} and max_batch = {batch} must be >= 0")
    needed = exact_memory_bytes(len(gain), min(capacity, int(weight.sum())), batch)
    if needed > MAX_EXACT_BYTES:
        raise CapacityError(
            f"the exact knapsack of {len(gain)} requests, {capacity} blocks and a batch of {batch} may need "
            f"{needed / 2**30:.1f} GiB, more than {MAX_EXACT_BYTES / 2**30:.0f}; count memory in larger blocks"
        )
    return KnapsackInstance(gain, weight, capacity, batch, priority)
