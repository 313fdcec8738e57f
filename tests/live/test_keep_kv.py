"""Preempted requests whose KV cache waits in host memory, on the live CPU engine: the same tokens, less to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from andes_engine.vllm.episode import EpisodeRecord
from andes_engine.vllm.live_engine import LiveEngine
from tests.live.conftest import LIVE_CONFIG, LIVE_REQUESTS
from tests.live.stubs import NEEDS_VLLM, RandomPlanner

pytestmark = NEEDS_VLLM
SEEDS = (1, 2, 3)
PLENTY = 4 * LIVE_CONFIG.kv_blocks


def computed_tokens(engine: LiveEngine) -> int:
    return sum(sample.prefill_tokens + sample.decode_seqs for sample in engine.samples)


def memory(engine: LiveEngine) -> Any:
    return engine._scheduler.connector.memory


@contextmanager
def keeping(model_dir: Path, host_kv_blocks: int, prefix_caching: bool) -> Iterator[LiveEngine]:
    """Only one at a time: vLLM has one place for a KV connector in a process."""
    config = replace(LIVE_CONFIG, host_kv_blocks=host_kv_blocks, prefix_caching=prefix_caching)
    engine = LiveEngine(config, "andes", model_dir)
    try:
        yield engine
    finally:
        engine.shutdown()


@pytest.fixture(scope="module", params=[True, False], ids=["prefix cache", "no prefix cache"])
def keeper(request: pytest.FixtureRequest, stock_record: EpisodeRecord, model_dir: Path) -> Iterator[LiveEngine]:
    with keeping(model_dir, PLENTY, request.param) as engine:
        yield engine


@pytest.fixture(scope="module")
def recomputed(model_dir: Path) -> int:
    """Tokens computed under the random planner's preemptions where nothing is kept, nor found again."""
    engine = LiveEngine(replace(LIVE_CONFIG, prefix_caching=False), "andes", model_dir)
    total = 0
    for seed in SEEDS:
        engine.replay(LIVE_REQUESTS, RandomPlanner(seed, preempt=0.15))
        total += computed_tokens(engine)
    engine.shutdown()
    return total


def test_tokens_are_the_same_and_fewer_are_computed(
    recomputed: int, keeper: LiveEngine, stock_record: EpisodeRecord
) -> None:
    total = preempted = 0
    for seed in SEEDS:
        planner = RandomPlanner(seed, preempt=0.15)
        record = keeper.replay(LIVE_REQUESTS, planner)
        assert record.token_ids == stock_record.token_ids
        counters = keeper.counters
        assert counters.failures == planner.raised and counters.host_full == 0
        assert 0.5 * counters.preemptions < counters.kept <= counters.preemptions
        assert memory(keeper).free_blocks == PLENTY
        total += computed_tokens(keeper)
        preempted += counters.preemptions
    print(f"{preempted} preemptions: {total} tokens computed, {recomputed} without host memory")
    assert preempted > 100
    assert total < 0.7 * recomputed
