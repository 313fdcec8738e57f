"""vLLM's own scheduler with host memory on a virtual clock: a strict worker finds every token's KV where it is read.

Synchronous and one step ahead; with much host memory, with little, with and without prefix cache.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from andes_engine.errors import CapacityError
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import NEEDS_VLLM, RandomPlanner, overload, step_time_s

pytestmark = NEEDS_VLLM
MUCH, LITTLE = 480, 20
# Readers who leave, some of them while their request waits with its KV in host memory.
REQUESTS = [
    replace(request, abort_s=request.arrival_s + 0.7 if place % 7 == 0 else request.abort_s)
    for place, request in enumerate(overload(90, rate=70.0))
]
STAYING = {request.request_id for place, request in enumerate(REQUESTS) if place % 7}


@pytest.fixture(scope="module")
def stock_tokens() -> dict[str, list[int]]:
    return VirtualEngine(LiveConfig(), step_time_s, "stock").replay(REQUESTS).token_ids


@pytest.mark.parametrize("pipelined", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("prefix_caching", [False, True], ids=["no caching", "caching"])
@pytest.mark.parametrize("host_kv_blocks", [MUCH, LITTLE], ids=["much", "little"])
def test_outputs_are_stock_and_host_memory_is_bounded_and_given_back(
    stock_tokens: dict[str, list[int]], pipelined: bool, prefix_caching: bool, host_kv_blocks: int
) -> None:
    config = LiveConfig(prefix_caching=prefix_caching, host_kv_blocks=host_kv_blocks)
    engine = VirtualEngine(config, step_time_s, "andes", pipelined=pipelined, host_copy_s_per_block=1e-4)
    used = []
    engine.on_scheduled = lambda *_: used.append(engine._scheduler.connector.memory.used_blocks)
    for seed in (1, 2):
        planner = RandomPlanner(seed)
        record = engine.replay(REQUESTS, planner)
        assert {name: record.token_ids[name] for name in STAYING} == {name: stock_tokens[name] for name in STAYING}
        counters, memory = engine.counters, engine._scheduler.connector.memory
        assert counters.failures == planner.raised
        assert counters.planned_preemptions > 100 and counters.kept > 50
        assert (counters.host_full > 0) == (host_kv_blocks == LITTLE)
        assert 0 < max(used) <= host_kv_blocks
        assert memory.used_blocks == 0
        assert memory.copied_blocks > 100
        assert engine.look()[3] == (host_kv_blocks, 1e-4)


def test_computing_is_what_host_memory_saves() -> None:
    tokens = {}
    for blocks in (0, MUCH):
        engine = VirtualEngine(LiveConfig(prefix_caching=False, host_kv_blocks=blocks), step_time_s, "andes")
        engine.replay(REQUESTS, RandomPlanner(3))
        tokens[blocks] = sum(sample.prefill_tokens for sample in engine.samples)
    print(f"prefill tokens: {tokens[0]} without host memory, {tokens[MUCH]} with")
    assert tokens[MUCH] < 0.6 * tokens[0]


@pytest.mark.parametrize(("blocks", "kind"), [(-1, "andes"), (5, "stock")])
def test_host_memory_that_would_not_be_used_is_refused(blocks: int, kind: str) -> None:
    with pytest.raises(CapacityError, match=f"host_kv_blocks = {blocks} with scheduler = '{kind}'"):
        VirtualEngine(LiveConfig(host_kv_blocks=blocks), step_time_s, kind)  # type: ignore[arg-type]
