"""Iterations of every size on an engine that can only be fed requests: the designed grid a step-time fit needs.

One workload visits few combinations of prefill, batch and context, and moves them together; a fit to it is off elsewhere. So
each cell of a grid is an episode: a batch of equal requests decodes together, and prompts of several lengths join one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from andes_engine.step_time import StepSample as FitSample
from andes_engine.step_time import StepTime, prefill_seconds
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig, StepSample

_BATCHES = (1, 2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128)
"""Dense where kernels change their tiles: between 16 and 32 a step may take as long as with 32."""
_CONTEXTS = (16, 128, 512)
_PROBES = (8, 32, 128, 320, 1000)
_SETTLE_STEPS = 8
_STEPS_BETWEEN = 4
_CHECK_REQUESTS = 160


class Cell(NamedTuple):
    """A batch that decodes together: how many sequences, and the tokens each starts with."""

    batch: int
    context: int


def calibration_cells(config: LiveConfig) -> list[Cell]:
    """The batches this engine holds, smallest first."""
    output = _SETTLE_STEPS + _STEPS_BETWEEN * len(_PROBES)
    return [
        Cell(batch, context)
        for batch, context in product(_BATCHES, _CONTEXTS)
        if batch < config.max_num_seqs
        and context + output <= config.longest_request_tokens
        and batch * _held_tokens(context + output, config) + _held_tokens(_PROBES[0] + 1, config)
        <= config.usable_kv_tokens
    ]


def cell_requests(cell: Cell, config: LiveConfig, rough: StepTime, tag: str) -> list[EpisodeRequest]:
    """The batch at time 0, then as many probes as fit beside it, one output token each, from short to long.

    Args:
        cell: The batch.
        config: The engine.
        rough: Any model of about the right speed; it only spaces the probes. What an iteration held is measured.
        tag: Makes request ids, and so prompts, unique: nothing is found in the prefix cache.
    """
    output = _SETTLE_STEPS + _STEPS_BETWEEN * len(_PROBES)
    room = config.usable_kv_tokens - cell.batch * _held_tokens(cell.context + output, config)
    probes = [
        probe for probe in _PROBES if _held_tokens(probe + 1, config) <= room and probe < config.longest_request_tokens
    ]
    decode_s = rough(0, cell.batch, cell.batch * (cell.context + output), 0)
    at_s = prefill_seconds(rough.vector, cell.batch * cell.context, config.max_batched_tokens)
    at_s += _SETTLE_STEPS * decode_s
    requests = [EpisodeRequest(f"{tag}-{row}", 0.0, cell.context, output) for row in range(cell.batch)]
    for probe in probes:
        requests.append(EpisodeRequest(f"{tag}-p{probe}", at_s, probe, 1))
        at_s += prefill_seconds(rough.vector, probe, config.max_batched_tokens) + (_STEPS_BETWEEN - 2) * decode_s
    return requests


def waves() -> Iterator[EpisodeRequest]:
    """Traffic unlike the grid, to test a fit on: waves of 1 to 48 requests with short and long prompts, 0.25 s apart."""
    rng = np.random.default_rng(7)
    made, start_s = 0, 0.0
    while made < _CHECK_REQUESTS:
        for _ in range(int(rng.integers(1, 49))):
            prompt, output = int(rng.integers(8, 300)), int(rng.integers(4, 64))
            yield EpisodeRequest(f"wave-{made}", start_s, prompt, output)
            made += 1
        start_s += 0.25


def fit_sample(step: StepSample) -> FitSample:
    """A measured engine step as the fit takes it."""
    return FitSample(
        step.prefill_tokens,
        step.decode_seqs,
        step.context_tokens,
        step.sum_sq_prefill,
        step.duration_s,
        step.prefill_context,
    )


def device_sample(step: StepSample) -> FitSample:
    """The same step without vLLM's own time, for a model of the device alone."""
    assert step.device_s is not None, "a live engine times its executor"
    return replace(fit_sample(step), duration_s=step.device_s)


def _held_tokens(tokens: int, config: LiveConfig) -> int:
    """KV cache that a request of so many tokens takes up, in whole blocks."""
    return -(-tokens // config.block_size) * config.block_size
