"""Output lengths learned online: a life table of finished requests for each class of prompt lengths.

Bins of emitted tokens are log-spaced, so a table of 64 covers 1 to 131,072 tokens. Each counts the requests that entered it and
those that ended in it; the ratio is the hazard. Expected remaining tokens follow from the last bin backwards,
``R_b = q_b (w_b + 1) / 2 + (1 - q_b)(w_b + R_{b+1})`` with hazard ``q_b`` and width ``w_b``. Inside a bin, ends are taken as
equally likely at each of its tokens, as actuaries do, which makes every answer the conditional expectation of one distribution.
The price is a bin's width, at most a quarter of the length: where all outputs end at one token, half of it is the error at most.

Everything a server needs is here and nothing it cannot know: it learns from requests that are over. After a shift to longer
outputs it therefore sees the short ones first, and is low until the long ones end.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.errors import AndesError
from andes_engine.native import native

FloatArray = NDArray[np.float64]

MAX_TOKENS = 131_072
"""Outputs are counted up to here, tokens; beyond, the prior answers."""

PROMPT_CLASSES = 10
"""Classes of prompt length, a factor of two each: below 64 tokens, 64 to 127, ..., from 16,384."""

PRIOR_MEAN_TOKENS = 332.0
"""Mean output of single-turn ShareGPT in the traces of Andes (arXiv 2404.16283): what is expected before any data."""

HALF_LIFE_REQUESTS = 512.0
"""Finished requests after which an observation counts half. About 740 requests then carry the estimate."""

_SMALLEST_CLASS = 6  # prompts with fewer bits than this share the first class
_PARTS = 4  # bins for each doubling of the output length
_BINS = 64
_PRIOR_WEIGHT = 2.0  # requests that the prior is worth
_BACKOFF_WEIGHT = 4.0  # requests that all classes together are worth to one class
_SOMEBODY = 1e-200  # of them are in a bin nobody reaches, whose hazard is then the one backed off to
_REFRESH_REQUESTS = 8  # requests between two refreshes of the expectations

# One flat array: three numbers, then `entered` and `ended` for all requests and for each class, then for each class and bin the
# hazard and the expectation at its end, side by side because a query reads both.
_DECAY, _PRIOR_MEAN, _UNSEEN, _COUNTS = 0, 1, 2, 3
_ROW = 2 * _BINS
_EXPECTATIONS = _COUNTS + (1 + PROMPT_CLASSES) * _ROW
STATE_SIZE = _EXPECTATIONS + PROMPT_CLASSES * _ROW
"""Length of a state."""


def hazard_state(
    prior_mean_tokens: float = PRIOR_MEAN_TOKENS, half_life_requests: float = HALF_LIFE_REQUESTS
) -> FloatArray:
    """A state that has seen nothing: outputs are about geometric with the prior mean, whatever the prompt.

    Args:
        prior_mean_tokens: Mean output before any data, tokens, >= 1.
        half_life_requests: Finished requests after which one counts half, > 0; `inf` never forgets.

    Returns:
        State for `observe_finish` and `hazard_remaining`. Shape (`STATE_SIZE`,).

    Raises:
        AndesError: If a value is out of range.
    """
    if not 1.0 <= prior_mean_tokens <= MAX_TOKENS:
        raise AndesError(f"prior_mean_tokens = {prior_mean_tokens} must be between 1 and {MAX_TOKENS} tokens")
    if not half_life_requests > 0.0:
        raise AndesError(f"half_life_requests = {half_life_requests} must be > 0; use inf to never forget")
    state = np.zeros(STATE_SIZE)
    state[_DECAY] = 0.5 ** (1.0 / half_life_requests)
    state[_PRIOR_MEAN] = prior_mean_tokens
    refresh_state(state)
    return state


@compiled
def observe_finish(state: FloatArray, prompt_tokens: int, output_tokens: int) -> None:
    """Learn from a request that ended by itself after `output_tokens` >= 1 tokens. O(bins)."""
    _observe(state, prompt_tokens, output_tokens - 1, 1.0)


@compiled
def observe_censored(state: FloatArray, prompt_tokens: int, emitted_tokens: int) -> None:
    """Learn from a request that was cut off, by its client say: it is known only to be longer than `emitted_tokens`."""
    _observe(state, prompt_tokens, emitted_tokens, 0.0)


@compiled
def hazard_remaining(state: FloatArray, prompt_tokens: int, emitted_tokens: int) -> float:
    """Expected tokens still to come, given that `emitted_tokens` came and the request goes on; O(1).

    Args:
        state: What has been learned.
        prompt_tokens: Prompt length.
        emitted_tokens: Tokens so far, >= 0.

    Returns:
        Tokens, >= 1 and finite. `emitted_tokens` plus this never falls as tokens come.
    """
    if emitted_tokens >= MAX_TOKENS:
        return state[_PRIOR_MEAN]
    bin_ = _bin_of(emitted_tokens)
    start, width = _STARTS[bin_], _WIDTHS[bin_]
    at = _EXPECTATIONS + _prompt_class(prompt_tokens) * _ROW + 2 * bin_
    hazard, after = state[at], state[at + 1]
    left = width - (emitted_tokens - start)
    ending = hazard * left / width
    return (ending * (left + 1) / 2.0 + (1.0 - hazard) * (left + after)) / (ending + 1.0 - hazard)


_WIDTHS = np.array([1 << max(bin_ // _PARTS - 1, 0) for bin_ in range(_BINS)])
"""Token counts in each bin: bins begin at 0, 1, ..., 8, 10, 12, 14, 16, 20, ..."""

_STARTS = np.cumsum(_WIDTHS) - _WIDTHS
_USUAL_BINS = np.repeat(np.arange(_BINS), _WIDTHS)[:4096].astype(np.uint8)
_CLASSES = np.array(
    [
        min(max((32 * part).bit_length() - _SMALLEST_CLASS, 0), PROMPT_CLASSES - 1)
        for part in range(1 + (1 << 14) // 32)
    ],
    dtype=np.uint8,
)
"""Class of each 32 prompt lengths, and of all from 16,384. Looked up, like the usual bins: a plan asks for every request."""


@compiled
def _bin_of(tokens: int) -> np.int64:
    """Bin of a token count."""
    count = np.uint64(tokens)
    if count < len(_USUAL_BINS):
        return np.int64(_USUAL_BINS[count])
    doublings = math.frexp(float(tokens))[1] - 3  # exact, unlike a logarithm
    return np.int64(_PARTS * doublings + (tokens >> doublings))


@compiled
def _prompt_class(prompt_tokens: int) -> np.int64:
    return np.int64(_CLASSES[min(np.uint64(prompt_tokens) >> np.uint64(5), np.uint64(len(_CLASSES) - 1))])


@compiled
def _observe(state: FloatArray, prompt_tokens: int, last: int, ended: float) -> None:
    """Count a request that entered every bin up to the one of `last`, in its class and in all classes together."""
    last_bin = _bin_of(min(max(last, 0), MAX_TOKENS - 1))
    decay = state[_DECAY]
    for row in (0, 1 + _prompt_class(prompt_tokens)):
        at = _COUNTS + row * _ROW
        for place in range(at, at + _ROW):
            state[place] *= decay
        for bin_ in range(last_bin + 1):
            state[at + bin_] += 1.0
        state[at + _BINS + last_bin] += ended
    state[_UNSEEN] += 1.0
    if state[_UNSEEN] >= _REFRESH_REQUESTS:
        _refresh(state)


@compiled_allocating
def _refresh(state: FloatArray) -> None:
    """Recompute hazards and expectations of every class: its own counts, backed off to all classes, these to the prior."""
    state[_UNSEEN] = 0.0
    reach, common = np.empty(_BINS), np.empty(_BINS)  # of all classes: share that enters each bin, and hazard in it
    going_on, prior_reach, common_reach = 1.0 - 1.0 / state[_PRIOR_MEAN], 1.0, 1.0
    for bin_ in range(_BINS):
        prior_hazard = 1.0 - going_on ** _WIDTHS[bin_]
        common[bin_] = _shrunk(state, _COUNTS + bin_, prior_hazard, _PRIOR_WEIGHT * prior_reach)
        reach[bin_] = common_reach
        prior_reach, common_reach = prior_reach * (1.0 - prior_hazard), common_reach * (1.0 - common[bin_])
    for class_ in range(PROMPT_CLASSES):
        own, to = _COUNTS + (1 + class_) * _ROW, _EXPECTATIONS + class_ * _ROW
        remaining = state[_PRIOR_MEAN]
        for bin_ in range(_BINS - 1, -1, -1):
            hazard, width = _shrunk(state, own + bin_, common[bin_], _BACKOFF_WEIGHT * reach[bin_]), _WIDTHS[bin_]
            state[to + 2 * bin_], state[to + 2 * bin_ + 1] = hazard, remaining
            remaining = hazard * (width + 1) / 2.0 + (1.0 - hazard) * (width + remaining)


refresh_state = native(lambda: (np.zeros(STATE_SIZE),), f"{__name__}:refresh_state")(_refresh)
"""`_refresh` for a caller in Python."""


@compiled
def _shrunk(state: FloatArray, at: int, towards: float, weight: float) -> float:
    """Hazard of a bin, as if `weight` more requests with hazard `towards` had entered it."""
    weight = max(weight, _SOMEBODY)
    return (state[at + _BINS] + weight * towards) / (state[at] + weight)
