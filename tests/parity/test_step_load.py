"""The prefill of a step, told by a scan or two, is that of its whole load."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from andes_engine.vllm.step_load import prefill_tokens, step_load
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import NEEDS_VLLM, RandomPlanner, step_time_s

pytestmark = NEEDS_VLLM
CHUNK_TOKENS = 64


def prompts_with_last_chunks_of_one(requests: int) -> list[EpisodeRequest]:
    draw = np.random.default_rng(5)
    lengths = draw.choice([1, CHUNK_TOKENS, CHUNK_TOKENS + 1, 2 * CHUNK_TOKENS + 1, 90], requests)
    arrivals_s = np.sort(draw.uniform(0.0, 3.0, requests))
    outputs = draw.integers(1, 40, requests)
    made = zip(arrivals_s.tolist(), lengths.tolist(), outputs.tolist(), strict=True)
    return [EpisodeRequest(str(row), *one) for row, one in enumerate(made)]


@pytest.mark.parametrize("pipelined", [False, True], ids=["synchronous", "asynchronous"])
def test_prefill_tokens_are_those_of_the_whole_load(pipelined: bool) -> None:
    config = LiveConfig(kv_blocks=40, max_model_len=640, max_batched_tokens=CHUNK_TOKENS, max_num_seqs=32)
    engine = VirtualEngine(config, step_time_s, "andes", pipelined=pipelined)
    told: list[tuple[int, int]] = []
    chunks_of_one: list[bool] = []

    def compare(_: Any, scheduled: Any) -> None:
        told.append((prefill_tokens(scheduled), step_load(scheduled).prefill_tokens))
        chunks_of_one.append(told[-1][1] == 1)

    engine.on_scheduled = compare
    engine.replay(prompts_with_last_chunks_of_one(80), RandomPlanner(2, fail=0.0))
    assert engine.counters.preemptions > 3
    assert [quick for quick, _ in told] == [whole for _, whole in told]
    assert {whole == 0 for _, whole in told} == {True, False} and any(chunks_of_one)
