"""The benchmarks: their page, the populations they measure on, and a tiny run of each group. No times are asserted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from andes_engine import counters as ct
from andes_engine.errors import AndesError
from andes_engine.knobs import Knobs
from andes_engine.sim.simulator import Simulator
from benchmarks import bench
from benchmarks.batched_lines import batched_lines
from benchmarks.bench_report import Machine, markdown, number, table
from benchmarks.decision_lines import compiled_loop, packing_instances
from benchmarks.engine_lines import window_speed
from benchmarks.lines import Goal, Line, Result, Sample, run_in_turns
from benchmarks.recorded_states import arguments_for, decide_from_python, empty_plan, prepared, record_states
from benchmarks.scenes import Recorded, Scene, record
from benchmarks.start_lines import in_fresh_process
from benchmarks.training_lines import training_lines

SCENE = Scene("small", 40, 700, "andes", {"planning_period_s": 0.0}, warm_iterations=100, timed_iterations=200)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return record(SCENE)


def result(values: list[float], goal: Goal | None = None, **facts: float) -> Result:
    line = Line("Speed", "a line", "items/s", lambda: Sample(0.0), goal)
    return Result(line, [Sample(value, facts) for value in values])


def test_a_row_says_median_spread_goal_and_by_how_much_it_was_missed():
    row = table([result([3e5, 2e5, 2.5e5], Goal(1e6, at_least=True), share=0.5)]).splitlines()[-1]
    assert row == "| a line | 250,000 (200,000 to 300,000) | items/s | ≥ 1,000,000 | **no** (4x off) | 3 | share 0.5 |"


@pytest.mark.parametrize(("bound", "at_least", "met"), [(2.0, True, True), (4.0, True, False), (2.0, False, False)])
def test_a_goal_is_met_on_its_own_side(bound: float, at_least: bool, met: bool):
    assert result([3.0], Goal(bound, at_least)).met is met


def test_the_page_has_each_group_the_machine_the_command_and_the_peers():
    machine = Machine("Some CPU", 2, 1.0, 2.0)
    page = markdown([result([1.0])], machine, "python -m x", "abc", {"numpy": "2"}, "| peers |")
    for expected in ("## Speed", "Some CPU, 2 cores", "`python -m x`", "`abc`", "numpy 2", "| peers |"):
        assert expected in page
    assert "Beside other" not in markdown([result([1.0])], machine, "python -m x", "abc", {})


def test_numbers_keep_three_digits():
    assert [number(value) for value in (0.0, 0.01234, 12.345, 1234567.8)] == ["0", "0.0123", "12.3", "1,234,568"]


def test_lines_are_measured_in_turns_and_slow_ones_less_often():
    seen: list[str] = []
    lines = [
        Line("g", name, "s", lambda name=name: seen.append(name) or Sample(1.0), repeats=most)  # type: ignore[misc, func-returns-value]
        for name, most in (("often", None), ("once", 1))
    ]
    results = run_in_turns(lines, 2, say=lambda _: None)
    assert seen == ["often", "once", "often"]
    assert [len(entry.samples) for entry in results] == [2, 1]


def test_a_scene_holds_its_population(recorded: Recorded):
    simulator = recorded.simulator()
    mine = simulator.of(0)
    while mine.now_s[0] < recorded.until_s:
        live = int(mine.counters[ct.ARRIVED] - mine.counters[ct.FINISHED])
        assert SCENE.live - 5 <= live <= SCENE.live
        simulator.advance(float(mine.now_s[0]) + 0.05)
    assert recorded.mean_live(simulator) == pytest.approx(SCENE.live, abs=0.5)


def test_the_window_is_contended_and_planned_at_every_iteration(recorded: Recorded):
    sample = window_speed(recorded)
    assert sample.facts["plans per iteration"] == 1.0
    assert sample.facts["mean tokens per iteration"] < 0.9 * SCENE.live
    assert sample.facts["iterations timed"] == pytest.approx(SCENE.timed_iterations, abs=2)


def test_stepping_covers_the_same_window(recorded: Recorded):
    skipping, stepping = window_speed(recorded).facts, window_speed(recorded, every_step=True).facts
    for name in ("iterations timed", "mean tokens per iteration", "mean live"):
        assert skipping[name] == stepping[name]


def test_recorded_states_differ_and_are_all_planned_on(recorded: Recorded):
    states = record_states(recorded, 3)
    assert len(set(states.engines.now_s[:, 0])) == 3
    for cold in (False, True):
        assert compiled_loop(states, cold, timings=1)().facts["plans per decision"] == 1.0


def test_a_decision_repeated_on_a_state_is_the_same(recorded: Recorded):
    states = record_states(recorded, 1)
    plan = empty_plan(states)
    heads = []
    for _ in range(2):
        state = prepared(states, 0)
        decide_from_python(state, arguments_for(state, 2, plan))
        heads.append((plan.head.copy(), plan.order.copy()))
    np.testing.assert_array_equal(heads[0][0], heads[1][0])
    np.testing.assert_array_equal(heads[0][1], heads[1][1])


def test_knapsacks_are_those_of_the_engine():
    (instance, _) = packing_instances(SCENE, 2)
    assert len(instance.gain) == len(instance.weight_blocks) == SCENE.live
    assert instance.capacity_blocks == SCENE.kv_blocks < instance.weight_blocks.sum()


def test_threads_change_nothing(recorded: Recorded):
    runs = []
    for threads in (1, 2, 3):
        simulator = Simulator([SCENE.engine] * 5, len(recorded.workload), threads=threads)
        for index in range(5):
            simulator.reset(index, recorded.workload, "andes", Knobs({"horizon_s": 10.0 + index}))
        for until_s in (0.4, 0.9, recorded.until_s):
            simulator.advance(until_s)
        runs.append(simulator.engines)
    for other in runs[1:]:
        for name in ("finish_s", "now_s", "counters", "registers"):
            np.testing.assert_array_equal(getattr(runs[0], name), getattr(other, name))
        assert runs[0].table.tobytes() == other.table.tobytes()


def test_a_failing_process_is_told_with_its_reason():
    with pytest.raises(AndesError, match="no such thing"):
        in_fresh_process("raise ValueError('no such thing')")


@pytest.mark.timeout(300)
def test_batches_and_training_are_measured():
    lines = [*batched_lines(scale=0.01, engines=2)[:2], *training_lines(scale=0.01, engines=2)]
    samples = [line.measure() for line in lines]
    assert all(sample.value > 0.0 for sample in samples)
    coarse, fine, *_ = (sample.facts["engine iterations per decision"] for sample in samples[:2])
    assert coarse > 10.0 * fine > 0.0
    for sample in samples[2:]:
        assert 0.0 < sample.facts["environment, %"] < 100.0


def test_unknown_groups_are_refused():
    with pytest.raises(AndesError, match="batched"):
        next(bench.measure(["batchd"], 1))


def test_bench_writes_page_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "GROUPS", {"engine": lambda: [Line("E", "tiny", "s", lambda: Sample(2.0))]})
    page, data = tmp_path / "RESULTS.md", tmp_path / "runs" / "results.json"
    bench.main(["--repeats", "2", "--only", "engine", "--page", str(page), "--data", str(data)])
    assert "| tiny | 2 (2 to 2) |" in page.read_text()
    assert [sample["value"] for sample in json.loads(data.read_text())["results"][0]["samples"]] == [2.0, 2.0]
