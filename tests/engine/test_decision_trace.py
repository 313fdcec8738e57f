"""Recorded decisions come out the same when made again; a file that was tampered with, cut off or foreign is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from andes_engine.decision_trace.format import line_of, read_trace
from andes_engine.decision_trace.recorder import DecisionTrace
from andes_engine.decision_trace.replay import replay_trace
from andes_engine.errors import TraceFormatError
from andes_engine.planner import Planner
from andes_engine.vllm.contract import RunningView, WaitingView
from tests.engine.test_planner import make_planner

ROOT = Path(__file__).parents[2]


def drive(planner: Planner, plans: int, arrivals: float, seed: int = 0) -> None:
    """A crude engine that follows its plans, with so many arrivals per iteration; .5 are more than it can hold."""
    rng = np.random.default_rng(seed)
    tokens: dict[str, int] = {}
    running: list[str] = []
    waiting: list[str] = []
    for step in range(plans):
        now_s = 0.1 * step
        for number in range(rng.poisson(arrivals)):
            name = f"{step}-{number}"
            tokens[name] = int(rng.integers(20, 300))
            planner.add(
                name, now_s, tokens[name], {"qoe_tds": float(rng.choice([3.0, 9.0, 100.0])), "qoe_user": number}
            )
            waiting.append(name)
        views = [RunningView(name, tokens[name], tokens[name] // 16 + 1, True) for name in running]
        free = 40 - sum(view.held_blocks for view in views)
        plan = planner.plan(now_s, views, [WaitingView(name, True) for name in waiting], max(free, 0))
        for name in plan.preempt:
            planner.preempted(name, now_s, tokens[name])
            running.remove(name)
            waiting.append(name)
        for name in waiting[:] if plan.admit is None else plan.admit:
            held = sum(tokens[other] // 16 + 1 for other in running)
            if name in waiting and len(running) < 8 and held + tokens[name] // 16 + 1 <= 40:
                waiting.remove(name)
                running.append(name)
                planner.admitted([name], now_s)
        for name in running[:]:
            planner.emitted({name: 1}, now_s + 0.05)
            tokens[name] += 1
            if rng.random() < 0.03:
                running.remove(name)
                planner.remove(name, finished=True)


def traced(path: Path, plans: int, max_mb: float = 64.0, arrivals: float = 0.5, **settings: object) -> DecisionTrace:
    planner = make_planner(**settings)
    planner.trace = DecisionTrace(path, max_mb, planner.trace_header())
    drive(planner, plans, arrivals)
    planner.trace.close()
    assert planner.trace.dropped + planner.trace.written == plans
    return planner.trace


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        ("preempt", {}),
        ("paused", {"knobs": {"planning_period_s": 0.3, "pause_threshold_tokens": 2.0}}),
        ("admit", {"scheduler": "vtc"}),
        ("admit", {"scheduler": "srpt", "lengths": "hazard"}),
        ("admit", {"scheduler": "authors_code"}),
        ("admit", {"scheduler": "tests.engine.test_planner.longest_first"}),
    ],
    ids=["andes", "pausing", "vtc", "srpt", "authors", "own"],
)
def test_every_decision_comes_out_the_same_again(tmp_path: Path, made: str, settings: dict[str, object]) -> None:
    arrivals = 0.06 if made == "paused" else 0.5  # nobody is paused while others wait
    trace = traced(tmp_path / "trace.jsonl", 200, arrivals=arrivals, **settings)
    found = replay_trace(tmp_path / "trace.jsonl")
    assert (found.decisions, found.differing, found.first_difference) == (trace.written, [], "")
    outputs = [decision.outputs[made] for decision in read_trace(tmp_path / "trace.jsonl")[1]]
    assert any(values.any() if made == "paused" else len(values) for values in outputs)


def test_a_decision_that_was_made_from_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    traced(path, 120)
    lines = path.read_bytes().splitlines(keepends=True)
    _, decisions = read_trace(path)
    victim = next(decision for decision in decisions if len(decision.outputs["admit"]) > 0)
    changed = victim.outputs["admit"].copy()
    changed[0] += 1
    victim = victim._replace(outputs={**victim.outputs, "admit": changed})
    lines[1 + victim.number] = line_of(victim)
    path.write_bytes(b"".join(lines))
    found = replay_trace(path)
    assert found.differing == [victim.number]
    assert f"admit was {changed.tolist()}, is" in found.first_difference


def test_the_files_stay_below_the_limit_and_the_newest_decisions_are_kept(tmp_path: Path) -> None:
    path, most_mb = tmp_path / "trace.jsonl", 0.05
    traced(path, 250, most_mb)
    files = [path.with_name("trace.jsonl.1"), path]
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in files}
    assert sum(file.stat().st_size for file in files) <= most_mb * 2**20
    numbers = [decision.number for file in files for decision in read_trace(file)[1]]
    assert numbers == sorted(numbers) and len(numbers) < 250
    assert all(replay_trace(file).differing == [] for file in files)


def test_a_full_disk_costs_the_trace_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    trace = traced(folder / "trace.jsonl", 20)
    assert (trace.written, trace.dropped) == (0, 20)
    assert len(caplog.records) == 1


def test_what_is_no_trace_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with pytest.raises(TraceFormatError, match="cannot read the trace"):
        replay_trace(path)
    for text in ("", "{}", "not JSON\n", "[1]\n"):
        path.write_text(text)
        with pytest.raises(TraceFormatError, match="no trace of decisions"):
            replay_trace(path)
    traced(path, 5)
    head, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(json.dumps({**json.loads(head), "format": "andes-decisions-0"}).encode() + b"\n")
    with pytest.raises(TraceFormatError, match="'andes-decisions-0', this version reads"):
        replay_trace(path)
    path.write_bytes(json.dumps({**json.loads(head), "knobs": ["speed"]}).encode() + b"\n")
    with pytest.raises(TraceFormatError, match="other requests or knobs"):
        replay_trace(path)
    path.write_bytes(b"".join([head, lines[0], b'{"number": 1}\n']))
    with pytest.raises(TraceFormatError, match="line 3: damaged"):
        replay_trace(path)
    path.write_bytes(b"".join([head, lines[0], lines[1][:40]]))  # the server was killed while it wrote
    assert replay_trace(path).decisions == 1


def test_the_script_says_whether_they_agree(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    traced(path, 30)
    command = [sys.executable, "-m", "scripts.replay_trace"]
    done = subprocess.run([*command, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "30 of 30 decisions agree bit for bit" in done.stdout
    for arguments, message in (([], "give the file"), (["/nowhere"], "cannot read the trace")):
        done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert message in done.stderr
