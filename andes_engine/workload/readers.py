"""Who reads the answer: the pace of consumption, when the first token is expected, and when a reader gives up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import InvalidWorkloadError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReaderMix:
    """Readers of a few paces.

    Args:
        latency_s: Pace of each group, s per token, > 0.
        share: Weight of each group, >= 0; need not sum to 1.
    """

    latency_s: tuple[float, ...]
    share: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for field in ("latency_s", "share"):
            object.__setattr__(self, field, tuple(float(value) for value in getattr(self, field)))
        if len(self.latency_s) != len(self.share) or not self.share:
            raise InvalidWorkloadError(f"readers: {len(self.latency_s)} paces, {len(self.share)} shares; give one each")
        if not all(np.isfinite(pace) and pace > 0.0 for pace in self.latency_s):
            raise InvalidWorkloadError(f"readers: latency_s = {self.latency_s} must be seconds per token > 0")
        if not (all(np.isfinite(share) and share >= 0.0 for share in self.share) and sum(self.share) > 0.0):
            raise InvalidWorkloadError(f"readers: share = {self.share} must be >= 0 and not all 0")

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Pace of each of `count` readers, s per token. Shape (count,)."""
        share = np.array(self.share) / sum(self.share)
        return rng.choice(np.array(self.latency_s), size=count, p=share)

    @property
    def mean_tokens_per_s(self) -> float:
        """Mean pace, tokens/s."""
        return float(np.average(1.0 / np.array(self.latency_s), weights=self.share))


READING = ReaderMix((0.196, 0.230, 0.240, 0.249, 0.264), (28.04, 51.87, 11.19, 5.56, 3.33))
"""Reading speeds by age group, as the Andes evaluation mixes them: 4.5 tokens/s on average."""

LISTENING = ReaderMix((1.0 / 3.3,))
"""Text read aloud: about 3.3 tokens/s (Andes, evaluation)."""

READERS: dict[str, ReaderMix] = {"reading": READING, "listening": LISTENING}
"""Reader mixes by the name that configurations use; a number there is one fixed pace in s per token."""


@dataclass(frozen=True, slots=True)
class TtftExpectation:
    """When readers expect the first token: ``max(floor_s, prompt / prompt_tokens_per_s)`` after arrival.

    Args:
        floor_s: Patience for a short prompt, s (paper: 1).
        prompt_tokens_per_s: Prompt tokens that excuse one second; infinite for a fixed expectation (paper v2: 5000).
    """

    floor_s: float = 1.0
    prompt_tokens_per_s: float = np.inf

    def __post_init__(self) -> None:
        if not (np.isfinite(self.floor_s) and self.floor_s >= 0.0):
            raise InvalidWorkloadError(f"ttft: floor_s = {self.floor_s} must be a finite number of seconds >= 0")
        if not self.prompt_tokens_per_s > 0.0:
            raise InvalidWorkloadError(f"ttft: prompt_tokens_per_s = {self.prompt_tokens_per_s} must be > 0")

    def of(self, prompt_tokens: IntArray) -> FloatArray:
        """Expected time to first token of each request, s. Shape (n,)."""
        return np.maximum(self.floor_s, np.asarray(prompt_tokens) / self.prompt_tokens_per_s)


FIXED_TTFT = TtftExpectation()
"""First token expected 1 s after arrival (Andes)."""

PROMPT_TTFT = TtftExpectation(1.0, 5000.0)
"""One second for each 5000 prompt tokens, at least 1 s (Andes v2)."""

TTFT: dict[str, TtftExpectation] = {"fixed": FIXED_TTFT, "prompt": PROMPT_TTFT}
"""Expectations by the name that configurations use; a number there is a fixed expectation in s."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Readers who leave: some wait an exponential time after asking, finished or not, and the others stay for good.

    Args:
        mean_s: Mean time until an impatient reader leaves, s, > 0.
        share: Share of impatient readers, 0 to 1.

    Raises:
        InvalidWorkloadError: If a value is out of range.
    """

    mean_s: float
    share: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean_s) and self.mean_s > 0.0):
            raise InvalidWorkloadError(f"patience: mean_s = {self.mean_s} must be a finite number of seconds > 0")
        if not 0.0 <= self.share <= 1.0:
            raise InvalidWorkloadError(f"patience: share = {self.share} of impatient readers must be from 0 to 1")

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Time from asking to leaving of `count` readers, s, infinite for those who stay. Shape (count,)."""
        impatient = rng.random(count) < self.share
        patience_s = rng.exponential(self.mean_s, count)
        return np.where(impatient, patience_s, np.inf)
