"""What an iteration contains, added up as it is scheduled: the features of the step-time model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.step_time import step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PREFILL, DECODES, CONTEXT, SUM_SQ_PREFILL, PREFILL_CONTEXT = range(5)
LOAD_SIZE = 5
"""Prefill tokens, decode sequences, their context tokens, sum of squared prefill chunks, sum of chunk times tokens before it."""


@compiled
def note_load(load: IntArray, tokens: int, computed_tokens: int, emitted_tokens: int) -> None:
    """Add one request's tokens of this iteration; one token of a response under way is a decode, the rest is prefill."""
    if tokens == 1 and emitted_tokens > 0 and computed_tokens > 0:
        load[DECODES] += 1
        load[CONTEXT] += computed_tokens + 1
    else:
        load[PREFILL] += tokens
        load[SUM_SQ_PREFILL] += tokens * tokens
        load[PREFILL_CONTEXT] += tokens * computed_tokens


@compiled
def load_seconds(step_time: FloatArray, load: IntArray) -> float:
    """Duration of the iteration, s."""
    return step_seconds(
        step_time, load[PREFILL], load[DECODES], load[CONTEXT], load[SUM_SQ_PREFILL], load[PREFILL_CONTEXT]
    )
