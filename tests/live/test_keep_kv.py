"""Preempted requests whose KV cache waits in host memory, on the live CPU engine: the same tokens, less to compute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from andes_engine.errors import AndesError
from andes_engine.vllm.contract import NO_HOST, HostRoom, Plan, RunningView, WaitingView
from andes_engine.vllm.episode import EpisodeRecord, EpisodeRequest
from andes_engine.vllm.host_memory import Copies, HostMemory
from andes_engine.vllm.live_engine import LiveEngine
from tests.live.conftest import LIVE_CONFIG, LIVE_REQUESTS
from tests.live.stubs import NEEDS_VLLM, STOCK, RandomPlanner, SilentPlanner

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


def test_full_host_memory_means_recomputing_and_is_counted(stock_record: EpisodeRecord, model_dir: Path) -> None:
    with keeping(model_dir, 3, prefix_caching=False) as engine:
        engine.replay(LIVE_REQUESTS, RandomPlanner(1, preempt=0.15))
        assert engine.record.token_ids == stock_record.token_ids
        assert engine.counters.host_full > 10 and engine.counters.kept > 0
        assert memory(engine).blocks == memory(engine).free_blocks == 3
        with pytest.raises(AndesError, match="one place for a KV connector"):
            LiveEngine(LIVE_CONFIG, "andes", model_dir)


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


class Swapper(SilentPlanner):
    """Preempts all once there is output of each, and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False
        self.seen: list[tuple[int, HostRoom]] = []

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        self.seen.append((sum(view.host_tokens for view in waiting), host))
        if not self.gone and len(self.known) == 2 and all(count > 2 for count in self.known.values()):
            self.gone = True
            return STOCK._replace(preempt=[view.request_id for view in running])
        return STOCK


TWO = [EpisodeRequest("a", 0.0, 100, 30), EpisodeRequest("b", 0.0, 64, 30)]


def swapped(engine: LiveEngine) -> Swapper:
    """Two requests in the middle, their KV in host memory."""
    planner = Swapper()
    engine.set_planner(None)
    engine.reset(TWO)
    engine.set_planner(planner)
    while not planner.gone:
        engine.advance(engine.now_s + 1e-4)
    return planner


def test_the_planner_is_told_what_is_kept_and_what_room_is_left(keeper: LiveEngine) -> None:
    planner = swapped(keeper)
    keeper.advance(math.inf)
    tokens, room = next(shown for shown in planner.seen if shown[0])
    assert tokens == 96 + 64  # whole blocks of what was computed
    assert room.free_blocks == PLENTY - 5
    assert room.copy_s_per_block == keeper.host.copy_s_per_block > 0.0
    assert planner.seen[-1] == (0, keeper.host)
    assert keeper.host.free_blocks == PLENTY


def test_aborts_and_resets_give_host_memory_back(keeper: LiveEngine) -> None:
    swapped(keeper)
    assert memory(keeper).used_blocks == 5
    keeper.reset(TWO)
    assert memory(keeper).used_blocks == 0


def test_kv_of_earlier_weights_never_comes_back(keeper: LiveEngine) -> None:
    """vLLM drops its prefix cache when weights change, waiting requests are then computed anew."""
    swapped(keeper)
    copied = memory(keeper).copied_blocks
    keeper._engine.reset_prefix_cache(reset_running_requests=True)
    assert memory(keeper).used_blocks == 0
    keeper.advance(math.inf)
    assert keeper.drained
    assert memory(keeper).copied_blocks == copied


def test_wrong_kv_would_be_seen_in_the_tokens(
    keeper: LiveEngine, stock_record: EpisodeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise equal tokens would say nothing: here blocks come back from the wrong place."""
    take_copies = HostMemory.take_copies

    def confused(self: HostMemory) -> Copies:
        copies = take_copies(self)
        return copies._replace(back=tuple((block, (host + 1) % PLENTY) for block, host in copies.back))

    monkeypatch.setattr(HostMemory, "take_copies", confused)
    assert keeper.replay(LIVE_REQUESTS, RandomPlanner(1, preempt=0.15)).token_ids != stock_record.token_ids


def test_andes_prices_host_memory_and_serves_everything(keeper: LiveEngine, stock_record: EpisodeRecord) -> None:
    from andes_engine.planner import Planner

    planner = Planner.from_config({"knobs": {"preemption_cap": 8.0}}, keeper.shape)
    assert keeper.replay(LIVE_REQUESTS, planner).token_ids == stock_record.token_ids
    assert keeper.counters.failures == 0 and keeper.counters.plans > 0
    assert keeper.counters.kept > 0
