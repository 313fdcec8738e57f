"""How the engines of episodes differ from those that are named: domain randomisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError


@dataclass(frozen=True, slots=True)
class EngineVariation:
    """What an episode's engine may have instead of what its configuration says; by default it is as it is.

    Load 1 is what FCFS saturates at on the engine that was drawn. That is simulated once for each KV size and token budget,
    which is why they are choices; a slowdown divides it, and may be any number.

    Args:
        slowdown: Bounds of what `EngineConfig.slowdown` is multiplied by, drawn uniformly.
        kv_factors: Choices of what `kv_blocks` is multiplied by.
        batched_tokens_factors: Choices of what `max_batched_tokens` is multiplied by.

    Raises:
        AndesError: If a value is not positive, or the bounds are the wrong way round.
    """

    slowdown: tuple[float, float] = (1.0, 1.0)
    kv_factors: tuple[float, ...] = (1.0,)
    batched_tokens_factors: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        low, high = self.slowdown
        if not (math.isfinite(high) and 0.0 < low <= high):
            raise AndesError(f"variation.slowdown = {self.slowdown} must be (low, high) with 0 < low <= high")
        for name in ("kv_factors", "batched_tokens_factors"):
            factors = getattr(self, name)
            if not (factors and all(math.isfinite(factor) and factor > 0.0 for factor in factors)):
                raise AndesError(f"variation.{name} = {factors} must be one or more finite numbers > 0")

    def draw(self, rng: np.random.Generator, engine: EngineConfig) -> EngineConfig:
        """The engine as one episode has it."""
        sizes = self._sizes(engine)
        size = sizes[rng.integers(len(sizes))]
        return replace(size, slowdown=engine.slowdown * float(rng.uniform(*self.slowdown)))

    def all_of(self, engine: EngineConfig) -> tuple[EngineConfig, ...]:
        """Every size of the engine that can be drawn, at its fastest.

        Raises:
            CapacityError: If one of them cannot be.
        """
        return tuple(replace(size, slowdown=engine.slowdown * self.slowdown[0]) for size in self._sizes(engine))

    def _sizes(self, engine: EngineConfig) -> list[EngineConfig]:
        return [
            replace(
                engine,
                kv_blocks=round(kv_factor * engine.kv_blocks),
                max_batched_tokens=round(tokens_factor * engine.max_batched_tokens),
            )
            for kv_factor, tokens_factor in product(self.kv_factors, self.batched_tokens_factors)
        ]
