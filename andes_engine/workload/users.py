"""Whose requests they are: a few users who ask much and many who ask little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import InvalidWorkloadError


@dataclass(frozen=True, slots=True)
class Users:
    """Users whose shares of the traffic follow Zipf's law: user u asks in proportion to ``(u + 1) ** -skew``.

    Args:
        count: Number of users, >= 1.
        skew: Exponent, >= 0; 0 gives everyone the same share.

    Raises:
        InvalidWorkloadError: If a value is out of range.
    """

    count: int
    skew: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.count, int) and self.count >= 1):
            raise InvalidWorkloadError(f"users: count = {self.count} must be a whole number >= 1")
        if not (np.isfinite(self.skew) and self.skew >= 0.0):
            raise InvalidWorkloadError(f"users: skew = {self.skew} must be a finite number >= 0 (0: equal shares)")

    @property
    def share(self) -> NDArray[np.float64]:
        """Expected share of the requests of each user. Shape (count,), sums to 1."""
        weight = np.arange(1, self.count + 1, dtype=np.float64) ** -self.skew
        return weight / weight.sum()

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """The user of each of `count` requests, or conversations. Shape (count,), from 0."""
        return rng.choice(self.count, size=count, p=self.share)
