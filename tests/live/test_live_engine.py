"""The live CPU engine: the same tokens whatever is planned. No test here looks at wall time."""

from __future__ import annotations

import math

import pytest

from andes_engine.vllm.episode import EpisodeRecord, EpisodeRequest
from andes_engine.vllm.live_engine import LiveEngine
from tests.live.conftest import LIVE_REQUESTS
from tests.live.stubs import NEEDS_VLLM, BrokenPlanner, RandomPlanner, SilentPlanner

pytestmark = NEEDS_VLLM


def test_every_request_gets_exactly_its_tokens(stock_record: EpisodeRecord) -> None:
    assert {i: len(t) for i, t in stock_record.token_ids.items()} == {
        r.request_id: r.output_tokens for r in LIVE_REQUESTS
    }
    assert all(times == sorted(times) for times in stock_record.token_times.values())
    assert len({token for ids in stock_record.token_ids.values() for token in ids}) > 20


@pytest.mark.parametrize("planner", [None, SilentPlanner(), BrokenPlanner()], ids=["none", "silent", "broken"])
def test_harmless_planners_give_stock_tokens(
    live_engine: LiveEngine, stock_record: EpisodeRecord, planner: SilentPlanner | None
) -> None:
    assert live_engine.replay(LIVE_REQUESTS, planner).token_ids == stock_record.token_ids


@pytest.mark.parametrize("seed", [1, 2])
def test_random_planner_gives_stock_tokens(live_engine: LiveEngine, stock_record: EpisodeRecord, seed: int) -> None:
    planner = RandomPlanner(seed)
    record = live_engine.replay(LIVE_REQUESTS, planner)
    assert record.token_ids == stock_record.token_ids
    assert live_engine.counters.planned_preemptions > 10
    assert live_engine.counters.failures == planner.raised
    assert planner.preemptions == sum(record.preemptions.values())
    assert planner.known == {}


def test_steps_are_sampled(live_engine: LiveEngine) -> None:
    live_engine.replay(LIVE_REQUESTS[:6])
    prefill_tokens = sum(sample.prefill_tokens for sample in live_engine.samples)
    assert prefill_tokens >= sum(request.prompt_tokens for request in LIVE_REQUESTS[:6]) - 6
    assert all(sample.duration_s > 0 for sample in live_engine.samples)


def test_reset_in_the_middle_leaves_nothing_behind(live_engine: LiveEngine) -> None:
    live_engine.set_planner(planner := SilentPlanner())
    live_engine.reset(LIVE_REQUESTS)
    while not live_engine.samples:
        live_engine.advance(live_engine.now_s + 0.05)
    live_engine.reset(LIVE_REQUESTS[:2])
    assert planner.known == {}
    assert live_engine.now_s == 0.0
    live_engine.advance(math.inf)
    assert live_engine.drained
    assert set(live_engine.token_times) == {"r0", "r1"}


def test_clock_stands_still_between_calls(live_engine: LiveEngine) -> None:
    live_engine.reset([EpisodeRequest("later", 0.3, 8, 2)])
    live_engine.advance(0.1)
    assert live_engine.now_s == live_engine.now_s >= 0.1
    assert live_engine.token_times == {"later": []}
    live_engine.advance(math.inf)
    assert live_engine.token_times["later"][0] >= 0.3


def test_too_long_a_request_is_refused_with_the_way_out(live_engine: LiveEngine) -> None:
    with pytest.raises(ValueError, match=r"'big' has 600 \+ 100 = 700 tokens.*allows 640.*Shorten"):
        live_engine.reset([EpisodeRequest("big", 0.0, 600, 100)])


def test_andes_planner_serves_everything(live_engine: LiveEngine, stock_record: EpisodeRecord) -> None:
    from andes_engine.planner import Planner

    planner = Planner.from_config({}, live_engine.shape)
    record = live_engine.replay(LIVE_REQUESTS, planner)
    assert record.token_ids == stock_record.token_ids
    assert live_engine.counters.failures == 0
    assert live_engine.counters.plans > 0
