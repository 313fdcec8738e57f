"""What surrounds a planner while it serves: metrics, events, the exchange of its policy. Its failures cost nothing."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from andes_engine.action import ActionSpec
from andes_engine.errors import AndesError, BundleError, UnknownNameError
from andes_engine.knobs import KNOB_NAMES, Knobs
from andes_engine.planner import Planner
from andes_engine.policy.bundle import Bundle
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.policy.location import state_of
from andes_engine.request import next_due_s, qoe_so_far
from andes_engine.service.config import ServiceConfig
from andes_engine.service.events import configure_logging, tell
from andes_engine.service.metrics import Exporter, exported_names
from andes_engine.service.policy_watch import PolicyWatch
from andes_engine.service.service import Service, start_service
from andes_engine.vllm.contract import WaitingView
from andes_engine.vllm.planning_counters import PlanningCounters
from tests.engine.test_planner import SHAPE, make_planner
from tests.engine.test_policy import Misbehaving, make_bundle

DOCS = Path(__file__).parents[2] / "docs"
QUIET = ServiceConfig(policy_poll_s=0.0)
OTHER = ActionSpec(("horizon_s",), {"horizon_s": 33.0})


class Board:
    """A registry of its own, and what it shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.exporter = Exporter("m", 0, self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"model_name": "m", "engine": "0", **labels})


@pytest.fixture
def board() -> Board:
    return Board()


def report(service: Service, counters: PlanningCounters, now_s: float = 0.0) -> None:
    service.after_step(now_s, counters, anybody_left=False)


def test_counts_are_told_once(board: Board) -> None:
    service = Service(make_planner(), QUIET, board.exporter)
    counters = PlanningCounters(plans=5, preemptions=3, planned_preemptions=2, pauses=4, failures=1)
    report(service, counters)
    report(service, counters)
    counters.preemptions = 4
    report(service, counters)
    assert board.value("andes_preemptions_total", cause="planned") == 2
    assert board.value("andes_preemptions_total", cause="engine") == 2
    assert board.value("andes_plans_total") == 5
    assert board.value("andes_pauses_total") == 4
    assert board.value("andes_fallbacks_total", cause="planner_failure") == 1
    assert board.value("andes_fallbacks_total", cause="ignored_decision") == 0
    report(service, PlanningCounters(plans=2))  # another planner was set, and counts anew
    assert board.value("andes_plans_total") == 7


def test_finished_requests_and_slack_are_those_of_the_core(board: Board) -> None:
    planner = make_planner()
    for name, prompt_tokens in (("runs", 100), ("waits", 200), ("ends", 50), ("aborted", 50), ("unseen", 50)):
        planner.add(name, 0.5, prompt_tokens, {"qoe_ttft": 1.0, "qoe_tds": 4.0})
    planner.admitted(["runs", "ends", "aborted", "unseen"], 1.0)
    for at_s in (1.0, 4.0, 4.1):
        for name in ("runs", "ends", "aborted"):
            planner.emitted({name: 1}, at_s)
    table = planner._table
    expected = float(qoe_so_far(table.rows, table.row("ends")))
    assert 0.0 < expected < 1.0
    for name in ("ends", "unseen"):
        planner.remove(name, finished=True)
    planner.remove("aborted", finished=False)
    assert [list(values) for values in planner.requests.slack_s(5.0)] == [
        [pytest.approx(float(next_due_s(table.rows, table.row(name))) - 5.0)] for name in ("runs", "waits")
    ]
    service = Service(planner, QUIET, board.exporter)
    service.planned(300e-6)
    report(service, PlanningCounters(), 5.0)
    report(service, PlanningCounters(), 5.0)
    assert board.value("andes_request_qoe_ratio_count") == 1
    assert board.value("andes_request_qoe_ratio_sum") == pytest.approx(expected)
    assert board.value("andes_decision_duration_seconds_bucket", le="0.0004") == 1
    assert board.value("andes_decision_duration_seconds_bucket", le="0.0002") == 0
    assert board.value("andes_slack_seconds", state="waiting", quantile="0.5") == pytest.approx(1.5 - 5.0)
    planner.remove("waits", finished=False)
    report(service, PlanningCounters(), 5.0)
    assert np.isnan(board.value("andes_slack_seconds", state="waiting", quantile="0.5"))  # type: ignore[arg-type]


def test_reports_come_once_a_second_and_before_idling(board: Board) -> None:
    service, counters = Service(make_planner(), QUIET, board.exporter), PlanningCounters()
    for at_s, plans, left, shown in ((0.0, 1, True, 1), (0.5, 2, True, 1), (0.6, 3, False, 3), (1.7, 4, True, 4)):
        counters.plans = plans
        service.after_step(at_s, counters, left)
        assert board.value("andes_plans_total") == shown


def test_bad_expectations_and_knobs_are_shown(board: Board) -> None:
    planner = make_planner(knobs={"horizon_s": 25.0})
    planner.add("a", 0.0, 10, {"qoe_tds": "fast"})
    report(Service(planner, QUIET, board.exporter), PlanningCounters())
    assert board.value("andes_fallbacks_total", cause="bad_expectation") == 1
    assert board.value("andes_knob_value", knob="horizon_s", unit="s") == 25.0


def test_a_failing_policy_is_counted_and_a_new_one_counts_from_zero(board: Board) -> None:
    planner = make_planner()
    service = Service(planner, QUIET, board.exporter)
    for _ in range(2):
        planner.set_policy(GuardedPolicy(Misbehaving(np.array([np.nan, 0.0])), version="v1"))  # type: ignore[arg-type]
        planner.add("a", 0.0, 10, None)
        for now_s in (0.1, 2.0, 4.0):
            planner.plan(now_s, [], [WaitingView("a", True)], 40)
            report(service, PlanningCounters())
        assert planner.knobs.tolist() == Misbehaving.action.knobs.vector.tolist()
    assert board.value("andes_fallbacks_total", cause="policy_not_finite") == 6
    assert board.value("andes_policy_decisions_total") == 6
    assert board.value("andes_policy_info", policy="bad", version="v1") == 1


def test_what_breaks_in_here_breaks_nothing_else(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    planner = make_planner()
    service = Service(planner, QUIET, board.exporter)
    for now_s in (0.0, 2.0, 4.0):
        planner.requests.finished_qoe.append("no number")  # type: ignore[arg-type]
        service.before_step()
        service.after_step(now_s, PlanningCounters(), True)
    assert service.failures == 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"policy_poll_s": -1}, AndesError, "policy_poll_s = -1 must be"),
        ({"log": "xml"}, UnknownNameError, "log 'xml'.*json, text"),
        ({"metrics": 1}, AndesError, "metrics = 1 must be true or false"),
        ({"trace": "file"}, AndesError, "must be a mapping with 'path'"),
        ({"trace": {"path": "/nowhere/at/all"}}, AndesError, "must name a file in an existing folder"),
        ({"trace": {"path": "x", "size": 1}}, UnknownNameError, "key of trace 'size'"),
        ({"trace": {"path": "x", "max_mb": 0}}, AndesError, "max_mb = 0 must be"),
    ],
)
def test_a_wrong_setting_is_refused_at_start(section: dict[str, Any], error: type, message: str) -> None:
    Planner.from_config(section, SHAPE)  # not the planner's business
    with pytest.raises(error, match=message):
        ServiceConfig.from_section(section)


def test_a_misspelt_setting_finds_the_services_keys_too() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'trace'"):
        Planner.from_config({"trac": {}}, SHAPE)


def bundle(name: str) -> Bundle:
    made = make_bundle(spec=OTHER)
    return Bundle(name, made.layers, made.action, made.decision_interval_s)


def exchange(folder: Path, new: Bundle) -> None:
    """As an operator does it: the new folder beside the old one, then two renames."""
    staged, old = folder.with_name("staged"), folder.with_name(f"old-{os.urandom(4).hex()}")
    new.save(staged)
    folder.rename(old)
    staged.rename(folder)


def serving(tmp_path: Path, policy: Path, board: Board) -> tuple[Planner, Service]:
    """A planner with a service whose watch only looks when the test says so."""
    planner = make_planner(policy=str(policy))
    service = Service(planner, QUIET, board.exporter)
    service._watch = PolicyWatch(policy, 1.0, service.refused)
    return planner, service


def look(service: Service) -> None:
    assert service._watch is not None
    for _ in range(2):  # what cannot be used is refused at the second look
        service._watch.look()
    service.before_step()
    report(service, PlanningCounters())


def in_charge(planner: Planner) -> str:
    guard = planner.knob_source
    return guard.bundle.name if isinstance(guard, GuardedPolicy) else "none"


def test_a_renamed_bundle_takes_over_between_two_steps(tmp_path: Path, board: Board) -> None:
    folder = bundle("first").save(tmp_path / "policy")
    planner, service = serving(tmp_path, folder, board)
    planner.add("a", 0.0, 10, None)
    planner.plan(0.1, [], [WaitingView("a", True)], 40)
    look(service)
    assert in_charge(planner) == "first"
    version = planner.knob_source.version  # type: ignore[union-attr]
    exchange(folder, bundle("second"))
    service._watch.look()  # type: ignore[union-attr]
    assert in_charge(planner) == "first"  # until a step begins
    look(service)
    assert in_charge(planner) == "second"
    planner.plan(0.2, [], [WaitingView("a", True)], 40)  # at once, not when the first one's interval is over
    assert planner.knob_source.decisions == 1  # type: ignore[union-attr]
    assert board.value("andes_policy_swaps_total", result="applied") == 1
    assert board.value("andes_policy_info", policy="first", version=version) == 0


def test_a_swap_is_not_lost_where_metrics_fail(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bundle("first").save(tmp_path / "policy")
    planner, service = serving(tmp_path, folder, board)
    exchange(folder, bundle("second"))
    monkeypatch.setattr(board.exporter, "set", lambda *_: 1 / 0)
    look(service)
    assert in_charge(planner) == "second"
    assert service.failures == 2
    assert "ZeroDivisionError" in caplog.text


def test_a_bad_bundle_is_refused_once_and_the_old_policy_stays(
    tmp_path: Path, board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    folder = bundle("first").save(tmp_path / "policy")
    planner, service = serving(tmp_path, folder, board)
    (folder / "weights.safetensors").write_bytes(b"half a fi")
    service._watch.look()  # type: ignore[union-attr]
    assert board.value("andes_policy_swaps_total", result="refused") == 0  # it may still be copied
    for _ in range(3):
        look(service)
    (folder / "bundle.json").unlink()
    look(service)
    assert in_charge(planner) == "first"
    assert board.value("andes_policy_swaps_total", result="refused") == 2
    assert board.value("andes_policy_swaps_total", result="applied") == 0
    assert [record.event for record in caplog.records] == ["policy_refused"] * 2  # type: ignore[attr-defined]
    assert "cannot read the weights" in caplog.text
    exchange(folder, bundle("second"))
    look(service)
    assert in_charge(planner) == "second"


def test_a_file_names_the_policy_or_none(tmp_path: Path, board: Board) -> None:
    bundle("first").save(tmp_path / "one")
    bundle("second").save(tmp_path / "two")
    pointer = tmp_path / "policy.txt"
    pointer.write_text("one\n")
    planner, service = serving(tmp_path, pointer, board)
    assert in_charge(planner) == "first"
    for text, name in ((str(tmp_path / "two"), "second"), ("nowhere", "second"), ("", "second"), ("none", "none")):
        pointer.write_text(text)
        look(service)
        assert in_charge(planner) == name
    assert planner.knobs.tolist() == Knobs().vector.tolist()
    pointer.write_text("one")
    look(service)
    assert in_charge(planner) == "first"
    assert board.value("andes_policy_swaps_total", result="refused") == 2


def test_a_bundle_that_was_trained_with_other_lengths_is_refused(tmp_path: Path, board: Board) -> None:
    """It would act on features that mean something else: at the start an error, in a running server the old one stays."""
    other = replace(bundle("other"), lengths="hazard")
    with pytest.raises(BundleError, match=r"lengths 'hazard', this server runs 'andes' and 'none'"):
        make_planner(policy=str(other.save(tmp_path / "other")))
    assert in_charge(make_planner(policy=str(tmp_path / "other"), lengths="hazard")) == "other"
    folder = bundle("first").save(tmp_path / "policy")
    planner = make_planner(policy=str(folder))
    service = Service(planner, QUIET, board.exporter)
    service._watch = PolicyWatch(folder, 1.0, service.refused, planner.config.load_policy)
    exchange(folder, other)
    look(service)
    assert in_charge(planner) == "first"
    assert board.value("andes_policy_swaps_total", result="refused") == 1


def test_a_bundle_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle("first").save(tmp_path / "policy")
    watch = PolicyWatch(folder, 1.0, lambda: None)
    exchange(folder, bundle("second"))
    load = GuardedPolicy.load

    def interrupted(path: Path) -> GuardedPolicy:
        guard = load(path)
        monkeypatch.setattr(GuardedPolicy, "load", load)
        exchange(folder, bundle("third"))
        return guard

    monkeypatch.setattr(GuardedPolicy, "load", interrupted)
    watch.look()
    assert watch.take() is None
    watch.look()
    swap = watch.take()
    assert swap is not None and swap.guard is not None
    assert swap.guard.bundle.name == "third"
    assert watch.take() is None


def test_the_thread_looks_by_itself(tmp_path: Path) -> None:
    folder = bundle("first").save(tmp_path / "policy")
    planner = make_planner(policy=str(folder))
    service = Service(planner, ServiceConfig(policy_poll_s=0.01), None)
    exchange(folder, bundle("second"))
    state = state_of(folder)
    while service._watch._known != state:  # type: ignore[union-attr]
        time.sleep(0.001)
    service.close()
    service.before_step()
    assert in_charge(planner) == "second"


@pytest.fixture
def our_logging() -> Iterator[None]:
    package = logging.getLogger("andes_engine")
    before = package.handlers[:], package.level, package.propagate
    yield
    package.handlers, package.level, package.propagate = before


def test_events_are_json_objects_where_asked_for(
    our_logging: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("pythonjsonlogger", reason="comes with vLLM")
    policy = make_bundle().save(tmp_path / "policy")
    planner = make_planner(policy=str(policy))
    service = start_service(planner, {"log": "json", "metrics": False, "policy_poll_s": 0}, "m", 0)
    planner.add("a", 0.0, 10, {"qoe_tds": -1})
    report(service, PlanningCounters())
    planner.plan(0.1, [], [WaitingView("a", True)], 40)
    report(service, PlanningCounters())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    events = {line["event"]: line for line in lines if "event" in line}
    assert events["planner_ready"]["policy"] == "test"
    assert events["fallback"] | {"cause": "bad_expectation", "times": 1, "level": "DEBUG"} == events["fallback"]
    assert events["knobs_changed"].keys() & set(KNOB_NAMES) == {"horizon_s", "kv_watermark"}
    assert any("qoe_tds = -1" in line["message"] for line in lines)


def test_text_leaves_the_frequent_events_out(our_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    configure_logging("text")
    tell("knobs_changed", logging.DEBUG, horizon_s=1.0)
    tell("policy_swapped", policy="p")
    (line,) = capsys.readouterr().err.splitlines()
    assert "andes: policy swapped policy=p" in line


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    dashboard = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for text in expressions for name in re.findall(r"andes_\w+", text)}
    assert asked <= exported_names()
    covered = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked}
    assert covered == {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exported_names()}
