"""The planner behind a real engine: its table, its events, its failures."""

from __future__ import annotations

import pytest

from andes_engine import counters as ct
from andes_engine.errors import AndesError, KnobError, UnknownNameError
from andes_engine.planner import Planner, PlannerConfig
from andes_engine.vllm.contract import EngineShape, RunningView, WaitingView
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
    planner.emitted("rich", 60, 0.5)
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
    planner.emitted("7", 3, 1.0)
    planner.preempted("7", 1.1)
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
