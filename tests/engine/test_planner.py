"""The planner behind a real engine: its table, its events, its failures."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine import counters as ct
from andes_engine.errors import AndesError, KnobError, SchedulerError, UnknownNameError
from andes_engine.live_users import UserNumbers
from andes_engine.planner import Planner, PlannerConfig
from andes_engine.vllm.contract import EngineShape, HostRoom, RunningView, WaitingView
from tests.builders import STEP_TIME

SHAPE = EngineShape(block_size=16, kv_blocks=40, max_num_seqs=8, max_batched_tokens=512, max_model_len=640)


def make_planner(**settings: object) -> Planner:
    return Planner(PlannerConfig(step_time=STEP_TIME, **settings), SHAPE)  # type: ignore[arg-type]


def test_open_gate_while_everything_fits() -> None:
    planner = make_planner()
    planner.add("a", 0.0, 100, {"qoe_ttft": 1.0, "qoe_tds": 5.0})
    plan = planner.plan(0.1, [], [WaitingView("a", True)], 40)
    assert plan.preempt == [] and plan.admit is None and plan.run_order is None


def test_a_newcomer_takes_the_place_of_a_request_far_ahead_of_its_reader() -> None:
    planner = make_planner()
    planner.add("rich", 0.0, 560, {"qoe_ttft": 1.0, "qoe_tds": 5.0})
    planner.emitted({"rich": 60}, 0.5)
    planner.add("new", 1.0, 200, {"qoe_ttft": 1.0, "qoe_tds": 5.0})
    plan = planner.plan(2.5, [RunningView("rich", 619, 39, True)], [WaitingView("new", True)], 1)
    assert plan.preempt == ["rich"]
    assert plan.admit == ["new"]


def test_a_request_in_cooldown_is_not_admitted() -> None:
    planner = make_planner()
    for name in ("a", "b"):
        planner.add(name, 0.0, 400, None)
    plan = planner.plan(5.0, [], [WaitingView("a", False), WaitingView("b", True)], 40)
    assert plan.admit is None or "a" not in plan.admit


@pytest.mark.parametrize("bad", [{"qoe_ttft": "soon"}, {"qoe_tds": 0}, {"qoe_ttft": float("nan")}, {"qoe_tds": True}])
def test_bad_expectation_is_counted_and_replaced(bad: dict[str, object]) -> None:
    planner = make_planner(qoe_ttft=2.0, qoe_tds=4.0)
    planner.add("a", 0.0, 10, bad)
    assert planner.bad_expectations == 1
    row = planner._table.row("a")
    assert planner._table.rows.ttft_s[row] == 2.0
    assert planner._table.rows.latency_s[row] == 0.25


def test_events_are_counted_and_rows_come_back() -> None:
    planner = make_planner()
    for number in range(300):  # more than the table starts with
        planner.add(str(number), 0.0, 10, None)
    planner.emitted({"7": 3}, 1.0)
    planner.preempted("7", 1.1, 0)
    for number in range(300):
        planner.remove(str(number))
    planner.remove("7")  # twice is no error: an abort may race with the end
    counters = planner.counters
    assert (counters[ct.ARRIVED], counters[ct.FINISHED], counters[ct.DECODE_TOKENS], counters[ct.PREEMPTIONS]) == (
        300,
        300,
        3,
        1,
    )
    assert len(planner._table) == 0


def test_configuration_errors_name_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'knobs'"):
        Planner.from_config({"knob": {}}, SHAPE)
    with pytest.raises(UnknownNameError, match=r"scheduler 'andse'.*andes"):
        Planner.from_config({"scheduler": "andse"}, SHAPE)
    with pytest.raises(KnobError, match=r"horizon_s.*1 to 400"):
        Planner.from_config({"knobs": {"horizon_s": -1}}, SHAPE)
    with pytest.raises(AndesError, match="no policy bundle"):
        Planner.from_config({"policy": "/nowhere"}, SHAPE)
    with pytest.raises(AndesError, match="qoe_tds > 0"):
        Planner.from_config({"qoe_tds": 0}, SHAPE)
    with pytest.raises(AndesError, match=r"'exact' reads the true output length.*'hazard'"):
        Planner.from_config({"lengths": "exact"}, SHAPE)
    with pytest.raises(SchedulerError, match="cannot import 'nowhere'"):
        Planner.from_config({"scheduler": "nowhere.score"}, SHAPE)


def row_of(planner: Planner, name: str) -> np.record:
    return planner._table.rows[planner._table.row(name)]


def test_who_is_far_ahead_skips_iterations_that_are_too_slow() -> None:
    planner = make_planner(knobs={"pause_threshold_tokens": 5.0})
    for name, tokens in (("ahead", 40), ("behind", 1)):
        planner.add(name, 0.0, 100, {"qoe_ttft": 1.0, "qoe_tds": 100.0})
        planner.admitted([name], 0.1)
        planner.emitted({name: tokens}, 0.2)
    running = [RunningView("ahead", 139, 9, True), RunningView("behind", 100, 7, True)]
    assert planner.plan(0.3, running, [], 20).pause == ["ahead"]
    assert planner.counters[ct.PAUSES] == 1
    planner.preempted("ahead", 0.4, 139)
    assert row_of(planner, "ahead").paused == 0


def test_what_the_prefix_cache_holds_is_told_and_forgotten_on_admission() -> None:
    planner = make_planner()
    planner.add("a", 0.0, 400, None)
    planner.plan(0.1, [], [WaitingView("a", True, 384)], 40)
    assert row_of(planner, "a").cached_tokens == 384
    planner.admitted(["a"], 0.1)
    assert row_of(planner, "a").cached_tokens == 0
    assert row_of(planner, "a").admitted_s == 0.1


def test_what_host_memory_holds_is_told_and_forgotten_on_admission() -> None:
    planner = make_planner()
    planner.add("a", 0.0, 400, None)
    planner.plan(0.1, [], [WaitingView("a", True, 64, 384)], 40, HostRoom(3, 1e-4))
    assert (row_of(planner, "a").cached_tokens, row_of(planner, "a").host_tokens) == (64, 384)
    planner.admitted(["a"], 0.1)
    assert row_of(planner, "a").host_tokens == 0


@pytest.mark.parametrize(
    ("host", "preempted"),
    [(HostRoom(40, 1e-5), ["rich"]), (HostRoom(40, 0.5), []), (HostRoom(37, 0.5), ["rich"])],
    ids=["fast", "slow", "too small for 38 blocks, so recomputed"],
)
def test_room_and_speed_of_host_memory_are_in_the_price_of_a_preemption(host: HostRoom, preempted: list[str]) -> None:
    planner = make_planner()
    for name in ("rich", "other"):
        planner.add(name, 0.0, 300, {"qoe_ttft": 1.0, "qoe_tds": 10.0})
        planner.admitted([name], 0.1)
        planner.emitted({name: 20}, 2.4)
    planner.add("new", 2.0, 16, {"qoe_ttft": 0.6, "qoe_tds": 10.0})
    running = [RunningView("rich", 619, 39, True), RunningView("other", 16, 1, True)]
    assert planner.plan(2.5, running, [WaitingView("new", True)], 0, host).preempt == preempted


def test_lost_tokens_add_up() -> None:
    planner = make_planner()
    planner.add("a", 0.0, 100, None)
    for computed in (64, 100):
        planner.plan(1.0, [RunningView("a", computed, 7, True)], [], 20)
        planner.preempted("a", 1.0, computed)
    assert row_of(planner, "a").lost_tokens == 164
    assert row_of(planner, "a").preemptions == 2


def test_orders_of_vllm_change_budget_and_reserve_only() -> None:
    sarathi = Planner(PlannerConfig("sarathi", step_time=STEP_TIME), SHAPE._replace(max_batched_tokens=2048))
    sarathi.add("a", 0.0, 100, None)
    plan = sarathi.plan(0.0, [], [WaitingView("a", True)], 40)
    assert (plan.token_budget, plan.admit, plan.reserve_blocks) == (512, None, None)
    fcfs = make_planner(scheduler="fcfs", knobs={"kv_reserve": 0.1})
    fcfs.add("a", 0.0, 100, None)
    plan = fcfs.plan(0.0, [], [WaitingView("a", True)], 40)
    assert (plan.token_budget, plan.admit, plan.reserve_blocks) == (None, None, 4)


def test_users_are_charged_and_a_user_who_comes_back_has_no_credit() -> None:
    planner = make_planner(scheduler="vtc")
    planner.add("greedy-1", 0.0, 100, {"qoe_user": "greedy"})
    planner.admitted(["greedy-1"], 0.0)
    planner.emitted({"greedy-1": 3}, 0.5)
    service = planner._requests.memory.user_service
    assert service[row_of(planner, "greedy-1").user] == 100 + 2 * 3
    planner.add("greedy-2", 0.6, 100, {"qoe_user": "greedy"})
    planner.add("late", 0.7, 100, {"qoe_user": 7})
    assert planner._requests.memory.user_service[row_of(planner, "late").user] == 106.0


def test_lengths_are_learned_from_what_finished_and_what_was_cut_off() -> None:
    def expected(finished: bool) -> float:
        planner = make_planner(scheduler="srpt", lengths="hazard")
        for number in range(64):
            planner.add(str(number), 0.0, 100, None)
            planner.emitted({str(number): 10}, 1.0)
            planner.remove(str(number), finished)
        planner.add("next", 2.0, 100, None)
        planner.plan(2.0, [], [WaitingView("next", True)], 40)
        return float(row_of(planner, "next").remaining_tokens)

    assert expected(finished=True) < 30.0 < expected(finished=False)


def test_an_experiment_may_tell_the_true_lengths() -> None:
    planner = Planner(PlannerConfig("srpt", step_time=STEP_TIME, lengths="exact"), SHAPE, length_hints={"mine": 70.0})
    planner.add("vllms-1", 0.0, 100, {"qoe_id": "mine"})
    planner.plan(0.0, [], [WaitingView("vllms-1", True)], 40)
    assert row_of(planner, "vllms-1").remaining_tokens == 70.0


def longest_first(requests: np.ndarray, now_s: float) -> np.ndarray:
    if (requests["prompt_tokens"] == 13).any():
        raise RuntimeError("unlucky")
    return requests["prompt_tokens"].astype(float)


def test_a_users_own_score_orders_and_a_failing_one_raises() -> None:
    planner = make_planner(scheduler="tests.engine.test_planner.longest_first")
    for name, prompt_tokens in (("short", 300), ("long", 500)):
        planner.add(name, 0.0, prompt_tokens, None)
    waiting = [WaitingView("short", True), WaitingView("long", True)]
    assert planner.plan(0.1, [], waiting, 40).admit == ["long"]
    planner.add("unlucky", 0.0, 13, None)
    with pytest.raises(SchedulerError, match="unlucky"):
        planner.plan(0.2, [], [*waiting, WaitingView("unlucky", True)], 40)


def test_idle_users_are_forgotten_when_there_are_too_many() -> None:
    users = UserNumbers(most_users=2)
    assert users.enter("a") == (0, True)
    assert users.enter("b") == (1, True)
    assert users.enter("a") == (0, False)
    users.leave("b")
    assert users.enter("c") == (1, True)
    assert users.enter("d") == (2, True)  # nobody is idle
