"""What the prefix cache holds of waiting requests is what vLLM would find, step by step, however little is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import NO_HOST, HostRoom, Plan, RunningView, WaitingView
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from andes_engine.vllm.prefix_probe import PrefixProbe
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import NEEDS_VLLM, RandomPlanner, step_time_s

pytestmark = NEEDS_VLLM
STRETCH_TOKENS = 32


def conversations(requests: int, seed: int) -> list[EpisodeRequest]:
    """Prompts of whole and partial blocks, many of which begin alike."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(requests):
        stretches = int(rng.integers(1, 7))
        hashes = tuple(int(rng.integers(2)) * 10 + depth for depth in range(stretches))
        prompt = stretches * STRETCH_TOKENS + int(rng.integers(0, 2)) * int(rng.integers(1, 40))
        output = int(rng.integers(2, 90))
        arrival_s = float(rng.uniform(0.0, 2.0))
        made.append(EpisodeRequest(str(row), arrival_s, prompt, output, hash_ids=hashes, hash_tokens=STRETCH_TOKENS))
    return sorted(made, key=lambda request: request.arrival_s)


def found_by_vllm(scheduler: Any, request: Any) -> int:
    """Tokens of the longest prefix in vLLM's block pool, from the first block on."""
    size, find = scheduler.block_size, scheduler.kv_cache_manager.block_pool.get_cached_block
    count = 0
    while (count + 1) * size < request.num_tokens and find(request.block_hashes[count], [0]) is not None:
        count += 1
    return int(count * size)


class CheckingPlanner(RandomPlanner):
    """Compares what it is shown with the pool itself."""

    engine: VirtualEngine
    seen: list[int]

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        scheduler: Any = self.engine._scheduler
        expected = [found_by_vllm(scheduler, scheduler.requests[view.request_id]) for view in waiting]
        shown = [view.cached_tokens for view in waiting]
        if shown != expected:
            raise AssertionError(f"shown {shown}, in the pool {expected}")
        self.seen += expected
        return super().plan(now_s, running, waiting, free, host)


@pytest.mark.parametrize("pipelined", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planner_is_shown_what_the_pool_holds(pipelined: bool, seed: int) -> None:
    config = LiveConfig(kv_blocks=40, max_model_len=640, prefix_caching=True)
    engine = VirtualEngine(config, step_time_s, "andes", pipelined=pipelined)
    planner = CheckingPlanner(seed, fail=0.0)
    planner.seen, planner.engine = [], engine
    engine.replay(conversations(60, seed), planner)
    assert engine._scheduler.counters.failures == 0  # a wrong answer raises, and the scheduler counts it
    assert planner.preemptions > 10
    seen = np.array(planner.seen)
    assert (seen == 0).any() and len(set(seen[seen > 0])) > 3
    assert len(engine._scheduler._probe) == 0  # nothing is kept of those that are gone


def test_a_block_is_noticed_that_came_before_another_was_put_at_the_end_anew() -> None:
    """VLLM does so with a hash of two blocks when one of them is evicted."""
    from vllm.v1.core.block_pool import BlockHashToBlockMap, KVCacheBlock

    cache, wanted, twice = BlockHashToBlockMap(), b"wanted", b"twice"
    pool = SimpleNamespace(cached_block_hash_to_block=cache)
    request = SimpleNamespace(block_hashes=[wanted], num_tokens=20)
    manager = SimpleNamespace(block_pool=pool, enable_caching=True)
    scheduler = SimpleNamespace(kv_cache_manager=manager, requests={"waiting": request}, block_size=16)
    keys = {block_hash: block_hash + adapter.block_key_ending() for block_hash in (b"older", twice, wanted)}
    cache.insert(keys[b"older"], KVCacheBlock(1))
    for number in (2, 3):
        cache.insert(keys[twice], KVCacheBlock(number))

    probe = PrefixProbe()
    assert probe.look(scheduler, ["waiting"]) == (1, {"waiting": 0})
    cache.insert(keys[wanted], KVCacheBlock(4))
    cache.pop(keys[twice], 2)
    assert [*cache._cache] == [keys[b"older"], keys[wanted], keys[twice]]
    assert probe.look(scheduler, []) == (2, {"waiting": 16})
    assert probe.look(scheduler, []) == (3, {})
