"""Iteration-time model of an engine: how long a step takes, given what is in it.

Two regimes with coefficients of their own (one linear model over both is 7-9 % off per step but up to a third end to end):

    decode only     a + b B + c C
    with prefill    max(a' + g P + b' B, f0 + f1 P + f2 B) + c' C + e S + x X

with P prefill tokens, B decode sequences, C their context tokens, S the sum of squared prefill chunks and X the sum of
chunk times tokens computed before it. The maximum is a roofline: matrix products take the time of their arithmetic, or, with
few tokens, the time to read the weights. Attention adds to it; a chunk of p tokens after n others has p n + p^2 / 2 query-key
pairs, so x = 2 e where nothing else was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.errors import AndesError

FloatArray = NDArray[np.float64]
STEP_TIME_SIZE = 12
"""Length of `StepTime.vector`."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Coefficients of the two regimes, in seconds per unit; all of them finite and >= 0, so more load never costs less.

    Args:
        name: Where the numbers come from, for records.
        decode: (a s, b s/sequence, c s/context token) of iterations without prefill.
        mixed: (a' s, g s/prefill token, b' s/sequence, c' s/context token, e s/token^2) of iterations with prefill.
        host_s: Time the host adds to each iteration, s.
        floor: (f0 s, f1 s/prefill token, f2 s/sequence): least time of the linear layers with prefill; zeros for none.
        prefill_context: x, s per prefill token and token before it; by default 2 e, every query-key pair costing the same.

    Raises:
        AndesError: If a coefficient is negative or not finite, or one is missing.
    """

    name: str
    decode: tuple[float, float, float]
    mixed: tuple[float, float, float, float, float]
    host_s: float = 0.0
    floor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    prefill_context: float | None = None

    def __post_init__(self) -> None:
        if (len(self.decode), len(self.mixed), len(self.floor)) != (3, 5, 3):
            raise AndesError(f"step time '{self.name}': need 3 decode, 5 mixed and 3 floor coefficients")
        if not (np.isfinite(self.vector).all() and (self.vector >= 0.0).all()):
            raise AndesError(
                f"step time '{self.name}': coefficients must be finite and >= 0, got {self.vector.tolist()}"
            )

    @property
    def prefill_context_s(self) -> float:
        """Seconds per prefill token and token before it: what was given, or 2 e."""
        return 2.0 * self.mixed[4] if self.prefill_context is None else self.prefill_context

    @property
    def mixed_attention(self) -> float:
        """How much dearer a context token is when prefill shares the iteration: c' / c. Infinite where c is 0."""
        return self.mixed[3] / self.decode[2] if self.decode[2] else float("inf")

    def with_mixed_attention(self, multiplier: float) -> StepTime:
        """The same engine with c' = multiplier * c (2.1 was measured on an RTX 4090, 1.6 on an RTX PRO 6000)."""
        a, g, b, _, e = self.mixed
        return replace(self, mixed=(a, g, b, multiplier * self.decode[2], e))

    @property
    def vector(self) -> FloatArray:
        """The coefficients as `step_seconds` reads them, host time included. Shape (STEP_TIME_SIZE,).

        ``[a, b, c, a', g, b', c', e, x, f0, f1, f2]``; the first three are the whole of the decode-only regime.
        """
        host = self.host_s
        a, b, c = self.decode
        a2, g, b2, c2, e = self.mixed
        f0, f1, f2 = self.floor
        return np.array([a + host, b, c, a2 + host, g, b2, c2, e, self.prefill_context_s, f0 + host, f1, f2])

    def __call__(
        self,
        prefill_tokens: int,
        decode_seqs: int,
        context_tokens: int,
        sum_sq_prefill: int,
        prefill_context: int = 0,
    ) -> float:
        """Duration of one iteration, s; see `step_seconds`."""
        return float(
            step_seconds(self.vector, prefill_tokens, decode_seqs, context_tokens, sum_sq_prefill, prefill_context)
        )


@compiled
def step_seconds(
    coefficients: FloatArray,
    prefill_tokens: int,
    decode_seqs: int,
    context: int,
    sum_sq_prefill: int,
    prefill_context: int,
) -> float:
    """Duration of one iteration, s; never falls when an argument grows within one regime.

    Args:
        coefficients: `StepTime.vector`.
        prefill_tokens: Prompt (or recomputed) tokens in the iteration.
        decode_seqs: Sequences that decode one token.
        context: KV tokens those sequences attend to, summed.
        sum_sq_prefill: Sum over prefill chunks of their length squared, tokens^2.
        prefill_context: Sum over prefill chunks of length times tokens computed before, tokens^2.
    """
    k = coefficients
    if prefill_tokens == 0:
        return k[0] + k[1] * decode_seqs + k[2] * context
    compute = k[3] + k[4] * prefill_tokens + k[5] * decode_seqs
    memory = k[9] + k[10] * prefill_tokens + k[11] * decode_seqs
    return max(compute, memory) + k[6] * context + k[7] * sum_sq_prefill + k[8] * prefill_context


@compiled
def scalars(coefficients: FloatArray) -> tuple[float, ...]:
    """`StepTime.vector` as numbers, for a loop that calls `step_seconds`: nothing written in the loop can change them."""
    k = coefficients
    return k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7], k[8], k[9], k[10], k[11]


@compiled
def prefill_seconds(coefficients: FloatArray, tokens: int, chunk_tokens: int) -> float:
    """Time to prefill `tokens` alone in chunks of `chunk_tokens`, s: what (re)starting a request costs the engine.

    The sum of `step_seconds` over the chunks, in constant time: the i-th full chunk attends to i chunks before it.
    """
    if tokens <= chunk_tokens:  # the common case, without a division
        return step_seconds(coefficients, tokens, 0, 0, tokens * tokens, 0) if tokens > 0 else 0.0
    full = tokens // chunk_tokens
    rest = tokens - full * chunk_tokens
    before = chunk_tokens * chunk_tokens * (full * (full - 1) // 2)
    total = coefficients[8] * before
    if full > 0:
        total += full * step_seconds(coefficients, chunk_tokens, 0, 0, chunk_tokens * chunk_tokens, 0)
    if rest > 0:
        total += step_seconds(coefficients, rest, 0, 0, rest * rest, rest * full * chunk_tokens)
    return total
