"""Where an output-length estimate comes from, by name and by the number compiled code knows it by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.compile_cache import compiled
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.lengths.hazard import hazard_remaining

FloatArray = NDArray[np.float64]

UNKNOWN = 0
"""Nothing is estimated: NaN. The paper's setting."""

HAZARD = 1
"""Learned online from finished requests; see `andes_engine.lengths.hazard`."""

NOISY = 2
"""The true length times log-normal noise, as a trained predictor would be wrong."""

EXACT = 3
"""The true length."""


@dataclass(frozen=True, slots=True)
class LengthSource:
    """One kind of estimate.

    Args:
        name: What configuration calls it.
        kind: What compiled code calls it.
        clairvoyant: Whether it reads the true output length, which no server knows; a run with it must be marked.
        meaning: One line for tables and help.
    """

    name: str
    kind: int
    clairvoyant: bool
    meaning: str


LENGTH_SOURCES: dict[str, LengthSource] = {
    source.name: source
    for source in (
        LengthSource("none", UNKNOWN, False, "no estimate"),
        LengthSource("hazard", HAZARD, False, "learned online from finished requests, by prompt length"),
        LengthSource("noisy", NOISY, True, "true length times log-normal noise"),
        LengthSource("exact", EXACT, True, "true length"),
    )
}


def length_source(name: str) -> LengthSource:
    """The source called `name`.

    Raises:
        UnknownNameError: If there is none; the message names the nearest.
    """
    if name not in LENGTH_SOURCES:
        raise UnknownNameError("length source", name, LENGTH_SOURCES)
    return LENGTH_SOURCES[name]


def length_hints(kind: int, output_tokens: ArrayLike, sigma: float, rng: np.random.Generator) -> FloatArray:
    """What a source is told about each request before it starts: its output length, exact or noisy, or NaN.

    Args:
        kind: Number of a source.
        output_tokens: True output lengths, tokens, >= 1. Shape (n,).
        sigma: Standard deviation of the noise of ln(length), >= 0; only `NOISY` reads it.
        rng: Source of the noise, drawn once per request in order; only `NOISY` advances it.

    Returns:
        Hints for `expected_remaining`, tokens. Shape (n,). The median noisy hint is the truth; the mean is above it.

    Raises:
        AndesError: If the kind does not exist, a length is below 1, or sigma is negative or not finite.
    """
    tokens = np.asarray(output_tokens, dtype=np.float64)
    known = [source.kind for source in LENGTH_SOURCES.values()]
    if kind not in known:
        raise AndesError(f"length source number {kind} does not exist; known: {known}, see LENGTH_SOURCES")
    if not (tokens >= 1.0).all():
        raise AndesError(f"output_tokens must be >= 1, got {tokens.min()}")
    if not (math.isfinite(sigma) and sigma >= 0.0):
        raise AndesError(f"sigma = {sigma} must be a finite number >= 0")
    if kind == EXACT:
        return tokens.copy()
    if kind == NOISY:
        return np.exp(np.log(tokens) + sigma * rng.standard_normal(tokens.shape))
    return np.full(tokens.shape, np.nan)


@compiled
def expected_remaining(
    kind: int, state: FloatArray, hint_tokens: float, prompt_tokens: int, emitted_tokens: int
) -> float:
    """Expected tokens that a live request still generates, from any source; O(1).

    A noisy estimate that turns out too low is raised as people raise theirs: overrun by x, it is taken to be off by x more.

    Args:
        kind: Number of a source.
        state: What `HAZARD` has learned, from `hazard_state`; the other kinds ignore it.
        hint_tokens: The request's entry of `length_hints`.
        prompt_tokens: Its prompt length.
        emitted_tokens: Tokens it has generated, >= 0.

    Returns:
        Tokens; NaN where nothing is known, that is for `UNKNOWN` and for a hint of NaN. `HAZARD` and `NOISY` say at least 1.
    """
    if kind == HAZARD:
        return hazard_remaining(state, prompt_tokens, emitted_tokens)
    if kind == UNKNOWN or math.isnan(hint_tokens):
        return np.nan
    if kind == EXACT:
        return max(hint_tokens - emitted_tokens, 0.0)
    return max(abs(hint_tokens - emitted_tokens), 1.0)
