"""vLLM's own scheduler on a virtual clock: stock decisions without a planner, exact outputs under any planner."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import NEEDS_VLLM, BrokenPlanner, RandomPlanner, SilentPlanner, overload, step_time_s

pytestmark = NEEDS_VLLM
CONFIG = LiveConfig()
REQUESTS = overload(90, rate=70.0)


@pytest.fixture(scope="module")
def stock() -> VirtualEngine:
    engine = VirtualEngine(CONFIG, step_time_s, "stock")
    engine.replay(REQUESTS)
    return engine


@pytest.fixture(scope="module", params=[False, True], ids=["sync", "async"])
def andes(request: pytest.FixtureRequest) -> Iterator[VirtualEngine]:
    yield VirtualEngine(CONFIG, step_time_s, "andes", pipelined=request.param)


def test_workload_makes_memory_scarce(stock: VirtualEngine) -> None:
    assert stock.drained
    assert sum(stock.preemptions.values()) > 10


def test_every_request_gets_exactly_its_tokens(stock: VirtualEngine) -> None:
    assert {i: len(t) for i, t in stock.token_times.items()} == {r.request_id: r.output_tokens for r in REQUESTS}


@pytest.mark.parametrize("pipelined", [False, True], ids=["sync", "async"])
def test_without_planner_decisions_equal_stock(pipelined: bool) -> None:
    ours = VirtualEngine(CONFIG, step_time_s, "andes", pipelined=pipelined).replay(REQUESTS)
    vllms = VirtualEngine(CONFIG, step_time_s, "stock", pipelined=pipelined).replay(REQUESTS)
    assert ours.samples == vllms.samples
    assert ours.token_times == vllms.token_times
    assert ours.preemptions == vllms.preemptions


def test_silent_planner_sees_all_and_changes_no_output(andes: VirtualEngine, stock: VirtualEngine) -> None:
    planner = SilentPlanner()
    record = andes.replay(REQUESTS, planner)
    assert record.token_ids == stock.record.token_ids
    assert planner.known == {}
    assert planner.preemptions == sum(record.preemptions.values())
    assert andes.counters.failures == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_planner_changes_no_output(andes: VirtualEngine, stock: VirtualEngine, seed: int) -> None:
    planner = RandomPlanner(seed)
    record = andes.replay(REQUESTS, planner)
    assert record.token_ids == stock.record.token_ids
    assert andes.counters.planned_preemptions > 100
    assert andes.counters.failures == planner.raised > 0
    assert planner.preemptions == sum(record.preemptions.values()) == andes.counters.preemptions


def test_broken_planner_is_counted_and_served_in_vllms_order(stock: VirtualEngine) -> None:
    engine = VirtualEngine(CONFIG, step_time_s, "andes")
    record = engine.replay(REQUESTS, BrokenPlanner())
    assert record.token_ids == stock.record.token_ids
    assert engine.counters.failures > len(record.samples)
    assert engine.counters.plans == 0


def test_same_seed_same_episode(andes: VirtualEngine) -> None:
    first = andes.replay(REQUESTS, RandomPlanner(7))
    second = andes.replay(REQUESTS, RandomPlanner(7))
    assert first == second


def test_advance_in_pieces_equals_replay(stock: VirtualEngine) -> None:
    engine = VirtualEngine(CONFIG, step_time_s, "stock")
    engine.reset(REQUESTS)
    steps = 0

    def count(_: object) -> None:
        nonlocal steps
        steps += 1

    while not engine.drained:
        engine.advance(engine.now_s + 0.25, on_step=count)
    assert engine.token_times == stock.token_times
    assert steps == len(stock.samples)


def test_idle_engine_waits_for_the_next_arrival() -> None:
    engine = VirtualEngine(CONFIG, step_time_s, "stock")
    engine.reset([EpisodeRequest("late", 5.0, 8, 2)])
    engine.advance(3.0)
    assert engine.now_s == 3.0
    assert not engine.drained
    engine.advance(math.inf)
    assert engine.token_times["late"][0] > 5.0


def test_reset_drops_a_running_episode(andes: VirtualEngine) -> None:
    andes.set_planner(RandomPlanner(1))
    andes.reset(REQUESTS)
    andes.advance(0.5)
    andes.reset(REQUESTS[:3])
    assert andes.now_s == 0.0
    andes.advance(math.inf)
    assert andes.drained
    assert set(andes.token_times) == {"r0", "r1", "r2"}


def test_plan_log_gets_every_plan() -> None:
    engine = VirtualEngine(CONFIG, step_time_s, "andes")
    engine.reset(REQUESTS[:10])
    engine.set_planner(SilentPlanner())
    log: list[int] = []
    engine.set_plan_log(lambda step, plan: log.append(step))
    engine.advance(math.inf)
    assert log == list(range(1, len(log) + 1))
    assert len(log) >= len(engine.samples)


def test_stock_engine_has_no_place_for_a_planner(stock: VirtualEngine) -> None:
    with pytest.raises(ValueError, match="scheduler='andes'"):
        stock.set_planner(SilentPlanner())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (EpisodeRequest("long", 0.0, 2000, 100), "'long' has 2000 \\+ 100 = 2100 tokens.*allows 2048.*Shorten"),
        (EpisodeRequest("none", 0.0, 8, 0), "'none' needs at least one"),
        (EpisodeRequest("nan", math.nan, 8, 8), "'nan'.*finite"),
    ],
)
def test_impossible_requests_are_refused_before_anything_starts(request_: EpisodeRequest, message: str) -> None:
    engine = VirtualEngine(CONFIG, step_time_s, "stock")
    with pytest.raises(ValueError, match=message):
        engine.reset([*REQUESTS, request_])


@pytest.mark.parametrize("pipelined", [False, True], ids=["sync", "async"])
def test_an_engine_that_has_drained_waits_for_the_next_arrival(pipelined: bool) -> None:
    """Planning ahead leaves a step in flight when the last request ends; it must not stand in for work for ever."""
    engine = VirtualEngine(CONFIG, step_time_s, "andes", pipelined=pipelined)
    engine.reset([EpisodeRequest("now", 0.0, 40, 6), EpisodeRequest("later", 5.0, 40, 6)])
    engine.advance(9.0)
    assert engine.drained
    assert engine.token_times["later"][0] > 5.0 > engine.token_times["now"][-1]
