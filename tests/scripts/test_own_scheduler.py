"""The README's own scheduler, exactly as printed: simulator, comparison over two processes, training, serving."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.cli import compose, with_own_schedulers
from agents.config import CompareConfig, TrainConfig
from agents.schema import from_mapping
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import SchedulerError, UnknownNameError
from andes_engine.sim.run import run_simulated
from andes_engine.workload import Workload

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
(SNIPPET,) = (block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "def my_score" in block)
SMALL = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=5", "loads=[1.2]", "seeds=2")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the user's, and nothing left behind in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def script(here: Path, name: str, *overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"scripts.{name}", *overrides]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == code, f"{command} returned {done.returncode}:\n{done.stdout}\n{done.stderr[-3000:]}"
    return done


def test_it_has_ten_lines() -> None:
    assert len([line for line in SNIPPET.splitlines() if line.strip()]) <= 10


def test_the_readme_s_function_schedules_in_the_simulator(here: Path, engine: EngineConfig, overload: Workload) -> None:
    (here / "my_module.py").write_text(SNIPPET)
    mine = run_simulated(engine, overload, Contender("mine", "my_module.my_score"))
    fcfs = run_simulated(engine, overload, Contender("fcfs", "fcfs"))
    assert mine.finished.all() and mine.scheduler == "mine"
    assert mine.qoe.mean() > fcfs.qoe.mean()  # it looks at the readers, and they notice


def test_compiled_it_decides_the_same(here: Path, engine: EngineConfig, overload: Workload) -> None:
    (here / "my_module.py").write_text(SNIPPET)
    (here / "my_fast.py").write_text("import numba\n" + SNIPPET.replace("def my_score", "@numba.njit\ndef my_score"))
    plain, fast = (
        run_simulated(engine, overload, Contender("m", f"{name}.my_score")) for name in ("my_module", "my_fast")
    )
    np.testing.assert_array_equal(plain.finish_s, fast.finish_s)


@pytest.mark.slow
def test_the_readme_s_function_takes_part_in_a_comparison(here: Path) -> None:
    (here / "my_module.py").write_text(SNIPPET)
    (line,) = re.findall(r"scripts\.compare (\S*my_module\S*)", README)
    said = script(here, "compare", line, *SMALL, "workers=2", f"run_dir={here / 'run'}").stdout
    assert "mine − andes" in said
    results = json.loads((here / "run" / "results.json").read_text())
    runs = {run["contender"]: run["metrics"]["unfinished"] for run in results["runs"]}
    assert runs == {"fcfs": 0, "andes": 0, "tuned_andes": 0, "mine": 0}


def test_the_readme_s_line_serves(here: Path) -> None:
    (here / "my_module.py").write_text(SNIPPET)
    (line,) = re.findall(r"scripts\.serve (.*scheduler=my_module.*)", README)
    said = script(here, "serve", *shlex.split(line), "dry_run=true").stdout
    assert '"scheduler": "my_module.my_score"' in said


def test_it_can_be_trained_around(here: Path) -> None:
    config = from_mapping(TrainConfig, compose("train", "scheduler=my_module.my_score"))
    assert (config.scheduler.name, config.scheduler.scheduler) == ("my_score", "my_module.my_score")


def test_only_a_choice_of_scheduler_with_a_dot_is_rewritten() -> None:
    plain = ["scheduler=andes", "+scheduler.knobs.horizon_s=2.5", "workload.trace=a.csv", "engine.step_time=a.json"]
    assert with_own_schedulers(plain) == plain
    assert with_own_schedulers(["+scheduler@contenders.x='a.b.c'"]) == [
        "+scheduler@contenders.x=own",
        "contenders.x.scheduler=a.b.c",
        "contenders.x.name=x",
    ]
    given = from_mapping(CompareConfig, compose("compare", "scheduler@contenders.fcfs=a.b"))
    assert (given.contenders["fcfs"].name, given.contenders["fcfs"].scheduler) == ("fcfs", "a.b")


def test_a_typo_without_a_dot_gets_the_nearest_name(here: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'least_slack'"):
        Contender("mine", "least_slak")
    said = script(here, "compare", "+scheduler@contenders.mine=least_slak", code=2).stderr
    assert "unknown scheduler 'least_slak'. Did you mean 'least_slack'?" in said and said.count("\n") == 1


WRONG = {
    "nowhere.score": ("", "cannot import 'nowhere' .ModuleNotFoundError"),
    "broken.score": ("def (", "cannot import 'broken' .SyntaxError"),
    "empty.score": ("", "module 'empty' has no function 'score'; define score.requests, now_s."),
    "short.score": (
        "def score(r, t): return r['arrival_s'][1:]",
        r"one number, not NaN, for each of 1 requests.*got shape \(0,\)",
    ),
    "nan.score": ("def score(r, t): return r['arrival_s'] * float('nan')", "got shape .1,. with 1 NaN"),
    "text.score": ("def score(r, t): return ['first'] * len(r)", "failed at 0.* s: ValueError: could not convert"),
    "fails.score": ("def score(r, t):\n    return 1 / 0", "ZeroDivisionError: division by zero, fails.py line 2"),
    "field.score": (
        "def score(r, t): return r['output_tokens']",
        "ValueError: no field of name output_tokens, field.py line 1",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(here: Path, engine: EngineConfig, name: str) -> None:
    source, told = WRONG[name]
    if name != "nowhere.score":
        (here / f"{name.partition('.')[0]}.py").write_text(source)
    one = Workload("one", np.zeros(1), np.full(1, 9), np.full(1, 9), np.ones(1), np.ones(1))
    with pytest.raises(SchedulerError, match=f"(?s)scheduler '{name}'.*{told}") as caught:
        run_simulated(engine, one, Contender("mine", name))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_function_that_fails_in_a_worker_is_told_in_one_line(here: Path) -> None:
    (here / "fails.py").write_text("def score(requests, now_s):\n    return 1 / 0\n")
    said = script(here, "compare", "+scheduler@contenders.mine=fails.score", *SMALL, "workers=2", "run_dir=run", code=2)
    last = said.stderr.strip().splitlines()[-1]
    assert last.startswith("error: 'mine' in 'load 1.2' (seed ") and "Traceback" not in said.stderr
    assert "failed: scheduler 'fails.score' failed at" in last and "runs are kept" in last


def test_a_missing_function_is_told_before_anything_runs(here: Path) -> None:
    said = script(here, "compare", "+scheduler@contenders.mine=nowhere.score", "run_dir=run", code=2).stderr
    assert said.startswith("error: scheduler 'nowhere.score': cannot import 'nowhere'") and not list(
        (here / "run").glob("*")
    )
