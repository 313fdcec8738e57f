"""How long prompts and responses are: lognormal families from published statistics, or resampled from a trace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.errors import InvalidWorkloadError

IntArray = NDArray[np.int64]


class Lengths(Protocol):
    """Anything that draws (prompt, output) token counts."""

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompt and output tokens of `count` requests, all >= 1. Shapes (count,)."""
        ...

    def __hash__(self) -> int:
        """By content, so that saturation rates can be cached."""
        ...


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A token count: lognormal with the given moments, rounded and clipped to its bounds.

    Args:
        mean: Mean before clipping, tokens, > 0.
        std: Standard deviation before clipping, tokens, >= 0.
        low: Smallest value, tokens, >= 1.
        high: Largest value, tokens.
    """

    mean: float
    std: float
    low: int = 1
    high: int = 131_072

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and self.mean > 0.0 and np.isfinite(self.std) and self.std >= 0.0):
            raise InvalidWorkloadError(f"lengths: mean = {self.mean} must be > 0 and std = {self.std} >= 0 tokens")
        if not 1 <= self.low <= self.high:
            raise InvalidWorkloadError(f"lengths: low = {self.low} must be >= 1 and <= high = {self.high} tokens")

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """Token counts. Shape (count,)."""
        variance = np.log1p((self.std / self.mean) ** 2)
        tokens = rng.lognormal(np.log(self.mean) - variance / 2.0, np.sqrt(variance), size=count)
        return np.clip(np.rint(tokens), self.low, self.high).astype(np.int64)


@dataclass(frozen=True, slots=True)
class LogNormalLengths:
    """Prompt and output drawn independently.

    Args:
        prompt: Distribution of prompt tokens.
        output: Distribution of output tokens.
        max_total: Longest prompt + output, tokens; the output is cut to fit.
    """

    prompt: LogNormal
    output: LogNormal
    max_total: int = 131_072

    def __post_init__(self) -> None:
        if self.prompt.high >= self.max_total and self.prompt.low + self.output.low > self.max_total:
            raise InvalidWorkloadError(f"lengths: max_total = {self.max_total} is below the smallest prompt + output")

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompt and output tokens. Shapes (count,)."""
        prompt = np.minimum(self.prompt.sample(rng, count), self.max_total - self.output.low)
        return prompt, np.minimum(self.output.sample(rng, count), self.max_total - prompt)


@dataclass(frozen=True, slots=True, eq=False)
class EmpiricalLengths:
    """Pairs resampled with replacement, so the dependence of output on prompt is kept.

    Args:
        prompt_tokens: Observed prompts. Shape (m,), >= 1.
        output_tokens: Observed outputs. Shape (m,), >= 1.

    Raises:
        InvalidWorkloadError: If there are no pairs, or a length is below 1.
    """

    prompt_tokens: IntArray
    output_tokens: IntArray

    def __init__(self, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> None:
        prompt, output = np.array(prompt_tokens, dtype=np.int64), np.array(output_tokens, dtype=np.int64)
        if prompt.ndim != 1 or prompt.shape != output.shape or prompt.size == 0:
            raise InvalidWorkloadError(f"lengths: need pairs, got {prompt.shape} prompts and {output.shape} outputs")
        if min(prompt.min(), output.min()) < 1:
            raise InvalidWorkloadError("lengths: prompt and output tokens must be >= 1; drop failed requests")
        for field, values in (("prompt_tokens", prompt), ("output_tokens", output)):
            values.setflags(write=False)
            object.__setattr__(self, field, values)

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompt and output tokens. Shapes (count,)."""
        rows = rng.integers(len(self.prompt_tokens), size=count)
        return self.prompt_tokens[rows], self.output_tokens[rows]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EmpiricalLengths) and self._digest() == other._digest()

    def __hash__(self) -> int:
        return hash(self._digest())

    def _digest(self) -> bytes:
        return hashlib.sha256(self.prompt_tokens.tobytes() + self.output_tokens.tobytes()).digest()


@dataclass(frozen=True, slots=True)
class MixedLengths:
    """Several kinds of requests at one time, such as chat and code.

    Args:
        kinds: Lengths of each kind.
        share: Weight of each kind, > 0; need not sum to 1.

    Raises:
        InvalidWorkloadError: If there is no kind, or not one positive share for each.
    """

    kinds: tuple[Lengths, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.kinds) != len(self.share) or not self.kinds:
            raise InvalidWorkloadError(f"lengths: {len(self.kinds)} kinds, {len(self.share)} shares; give one each")
        if not all(np.isfinite(share) and share > 0.0 for share in self.share):
            raise InvalidWorkloadError(f"lengths: shares of a mix {self.share} must be finite numbers > 0")

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompt and output tokens. Shapes (count,)."""
        chosen = rng.choice(len(self.kinds), size=count, p=np.array(self.share) / sum(self.share))
        prompt, output = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
        for number, kind in enumerate(self.kinds):
            rows = np.flatnonzero(chosen == number)
            prompt[rows], output[rows] = kind.sample(rng, len(rows))
        return prompt, output


LENGTHS: dict[str, LogNormalLengths] = {
    "sharegpt": LogNormalLengths(LogNormal(150, 304, 4, 2161), LogNormal(332, 237, 4, 1327)),
    "sharegpt_multi_round": LogNormalLengths(LogNormal(3171, 7943, 4, 65_536), LogNormal(410, 293, 4, 2048)),
    "arxiv": LogNormalLengths(LogNormal(17_855, 11_401, 512, 120_000), LogNormal(610, 436, 16, 2048)),
    "coding": LogNormalLengths(LogNormal(1552, 5423, 16, 65_536), LogNormal(3300, 2357, 16, 16_384)),
    "azure_conv": LogNormalLengths(LogNormal(1155, 1109, 2, 14_050), LogNormal(211, 163, 7, 1000)),
    "azure_code": LogNormalLengths(LogNormal(2048, 1974, 6, 7437), LogNormal(28, 64, 6, 1899)),
    "mooncake": LogNormalLengths(
        LogNormal(15_325, 18_380, 13, 191_378), LogNormal(149, 178, 1, 893), max_total=262_144
    ),
    "essays": LogNormalLengths(LogNormal(400, 500, 16, 4096), LogNormal(1500, 1071, 16, 8192)),
    "tiny": LogNormalLengths(LogNormal(100, 80, 8, 384), LogNormal(115, 80, 8, 448), max_total=512),
}
"""Families by name. Moments before clipping; an output whose std is unpublished gets .714 of its mean, as in ShareGPT.

| family | source |
|---|---|
| sharegpt | single turn, the Andes authors' request trace: output mean 332, max 1327; prompt at 4.3 characters/token |
| sharegpt_multi_round, arxiv, coding | Andes v2: prompt mean (std); output from the authors' logs (coding 3300-4000) |
| azure_conv, azure_code | Azure LLM inference trace 2023 (Splitwise, ISCA 2024); std and bounds from its first half |
| mooncake | synthetic trace of Mooncake (FAST '25): mean, std and bounds of its 3,993 requests |
| essays | made up, for searches and training: answers between those of sharegpt and coding, minutes to read |
| tiny | made up, for a live engine on a CPU with a context of 512 tokens |
"""
