"""Searching a fixed setting: finds what is right, goes on after a kill, keeps its hands off what it must not see."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from agents.build import SPLITS, spec_of
from agents.cli import compose, group_names
from agents.config import CompareConfig, SchedulerSettings
from agents.schema import ConfigError, from_mapping
from agents.suite_file import suite_of
from agents.tune import TuneConfig, is_better, training_settings, tune, validation_settings
from agents.tune_objective import Course, ObjectiveSettings, Terms
from agents.tune_search import TERMS
from agents.tune_space import SearchSettings
from agents.tune_study import AGAIN, JOURNAL, LOCK, PairedPruner, StudyError, finished, load_study, study_folder
from andes_engine.errors import AndesError
from andes_engine.knobs import INDEX_NAMES, KNOB_NAMES, KNOBS
from andes_engine.report.differences import Difference
from tests.conftest import Refusal

ROOT = Path(__file__).parents[2]
SMALL = (
    "~suite",
    "engine=cpu_tiny",
    "workload=tiny",
    "workload.duration_s=5",
    "loads=[1.2]",
    "seeds=2",
    "validation_seeds=2",
    "study.startup_trials=4",
    "study.startup_steps=1",
    "study.trials=12",
    "~scheduler@start.andes",
)
ONE_KNOB: Mapping[str, Any] = {"name": "toy", "knobs": {"batch_cap": None}}
"""With 4 sequences at a time most of the engine stands idle; from about 20 on little is lost."""

NARROW = {"name": "narrow", "scheduler": "andes", "knobs": {"batch_cap": 4.0}}


def config(run_dir: Path, *overrides: str, **given: Any) -> TuneConfig:
    composed = compose("tune", *SMALL, f"run_dir={run_dir}", *overrides)
    toy = {"search": ONE_KNOB, "reference": NARROW, "start": {"narrow": NARROW}}
    where = {"conf_dir": str(run_dir.parent / "conf"), "record_dir": str(run_dir.parent / "record")}
    return from_mapping(TuneConfig, {**composed, **toy, **where, **given})


@pytest.mark.parametrize(("sampler", "pruner"), [("tpe", "paired"), ("cmaes", "median"), ("tpe", "none")])
def test_finds_the_one_knob_that_matters_and_writes_it(sampler: str, pruner: str, tmp_path: Path) -> None:
    given = config(tmp_path / "run", f"study.sampler={sampler}", f"study.pruner={pruner}", "write=true")
    done = tune(given, "python -m scripts.tune search=toy")
    assert done.setting.knobs["batch_cap"] > 18.0 and done.won
    assert done.written is not None and done.written.name == "toy.yaml"
    text = done.written.read_text()
    assert text.startswith("# Found by python -m scripts.tune search=toy\n# at commit ") and "12 trials" in text
    again = from_mapping(SchedulerSettings, yaml.safe_load(text))
    assert again.contender == done.setting.contender
    record = json.loads((tmp_path / "record" / "toy.json").read_text())
    assert record["winner"]["knobs"] == done.setting.knobs and record["better"] is True
    assert sum(record["trials"].values()) == 12 and record["trials"]["complete"] > 0
    steps = list(record["history"].values())
    assert steps == sorted(steps) and steps[-1] == pytest.approx(record["top"][0]["value"], abs=1e-4)
    assert set(record["top"][0]["terms"]) == {"qoe_mean", "qoe_p10", "late_share", "throughput_loss"}
    assert (tmp_path / "run" / "figures" / "history.svg").is_file()
    assert any(entry["metric"] == "late_share" for entry in record["validation"])


def test_what_does_not_beat_the_reference_is_not_written(tmp_path: Path) -> None:
    wide = {**NARROW, "knobs": {}}
    search = {"name": "toy", "knobs": {"batch_cap": [4.0, 8.0]}}
    done = tune(config(tmp_path / "run", "write=true", "study.trials=3", reference=wide, search=search))
    assert not done.won and done.written is None and "nothing is written" in done.sentence
    assert not (tmp_path / "conf").exists() and not (tmp_path / "record").exists()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["better"] is False


def test_hopeless_trials_are_stopped_early(tmp_path: Path) -> None:
    done = tune(config(tmp_path / "run", "seeds=6", "study.pruner=median", "study.startup_trials=3", "study.trials=20"))
    trials = load_study(tmp_path / "run").trials
    stopped = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert stopped and all(len(trial.intermediate_values) < 6 and TERMS in trial.user_attrs for trial in stopped)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    best = max(complete, key=lambda trial: trial.value or 0.0)
    assert done.setting.knobs["batch_cap"] == pytest.approx(best.params["batch_cap"], rel=1e-3)


def test_going_on_adds_to_what_is_there_and_ends_at_the_number(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tune(config(run, "study.trials=5"))
    before = {trial.number: (trial.params, trial.value) for trial in load_study(run).trials}
    tune(config(run, "study.trials=9"))
    after = {trial.number: (trial.params, trial.value) for trial in load_study(run).trials}
    assert len(before) == 5 and len(after) == 9 and {number: after[number] for number in before} == before
    assert len({params["batch_cap"] for params, _ in after.values()}) == 9, "going on draws nothing twice"
    tune(config(run, "study.trials=9"))
    assert len(load_study(run).trials) == 9


@pytest.mark.slow
def test_two_processes_share_one_study(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tune(config(run, "study.workers=2", "study.trials=8"))
    trials = finished(load_study(run))
    assert 8 <= len(trials) <= 9
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len({trial.params["batch_cap"] for trial in trials}) == len(trials)


@pytest.mark.slow
def test_a_killed_search_loses_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    long = [part for part in SMALL if "trials" not in part and "start.andes" not in part]
    command = [sys.executable, "-m", "scripts.tune", *long, "study.trials=500", "seeds=4", f"run_dir={run}"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while _ended(run) < 3:
            assert running.poll() is None, running.communicate()[1].decode()
            time.sleep(0.01)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    kept = {trial.number: trial.params for trial in finished(load_study(run))}
    with (run / JOURNAL).open("a") as journal:
        journal.write('{"op_code": 5, "half')  # what a kill may leave
    (run / f"{JOURNAL}.lock").touch()
    count = len(kept) + 3
    whole = [f"study.trials={count}" if part == "study.trials=500" else part for part in command]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Best trials of search tuned_andes" in done.stdout and "results.json" in done.stdout
    trials = load_study(run).trials
    after = {trial.number: trial.params for trial in finished(load_study(run))}
    assert len(after) == count and {number: after[number] for number in kept} == kept
    for cut in (trial for trial in trials if trial.state.name == "FAIL" and trial.params):
        assert any(
            trial.user_attrs.get(AGAIN) == cut.number and cut.params.items() <= trial.params.items() for trial in trials
        )
    assert not any(trial.state.name == "RUNNING" for trial in trials)


def _ended(run: Path) -> int:
    """Trials that a running search has told the end of: optuna's operation 6."""
    path = run / JOURNAL
    return path.read_text().count('"op_code":6,') if path.is_file() else 0


def test_a_setting_without_an_objective_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Terms.of
    asked: list[int] = []

    def sometimes(*runs: Any) -> Terms:
        asked.append(0)
        return replace(real(*runs), qoe_mean=float("nan")) if len(asked) == 3 else real(*runs)

    monkeypatch.setattr(Terms, "of", sometimes)
    done = tune(config(tmp_path / "run", "study.trials=4", "study.pruner=none"))
    record = json.loads((done.run_dir / "results.json").read_text())
    assert record["trials"] == {"complete": 3, "pruned": 0, "failed": 1}
    assert record["failures"][0].startswith("the objective is nan in workload 0")


def test_a_search_of_which_nothing_comes_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Terms, "of", lambda *_: Terms(float("nan"), 0.0, 0.0, 0.0))
    with pytest.raises(StudyError, match="no trial was finished; 2 failed, the first with: the objective is nan"):
        tune(config(tmp_path / "run", "study.trials=2"))


def test_a_full_disk_is_told_and_what_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    tune(config(run, "study.trials=3"))

    def full(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        with pytest.raises(StudyError, match=r"cannot write .*No space left on device.*start again with run_dir="):
            tune(config(run, "study.trials=5"))
    tune(config(run, "study.trials=5"))
    assert len(finished(load_study(run))) == 5


def test_a_damaged_journal_is_told_by_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    tune(config(run, "study.trials=2"))
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join([*lines[:3], b"\x00\x00rubbish\n", *lines[3:]]))
    with pytest.raises(StudyError, match=f"{JOURNAL}, line 4 is damaged"):
        tune(config(run))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 3}, "seed was 0, is 3"),
        ({"search": {**ONE_KNOB, "knobs": {"batch_cap": [4.0, 64.0]}}}, "search.knobs.batch_cap was not there, is"),
        ({"objective": {"qoe_p10": 0.5}}, "objective.qoe_p10 was 0.1, is 0.5"),
        ({"seeds": 3}, "workloads.*seeds was 2, is 3"),
    ],
)
def test_another_search_does_not_go_on_with_this_one(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tune(config(run, "study.trials=1"))
    with pytest.raises(ConfigError, match=f"holds another search: {told}"):
        tune(config(run, **change))


def test_one_search_at_a_time(tmp_path: Path) -> None:
    with study_folder(tmp_path, {}, []):
        assert (tmp_path / LOCK).exists()
        with pytest.raises(ConfigError, match="another process is searching in"), study_folder(tmp_path, {}, []):
            pass


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"knobs": {"horizon": None}}, "unknown knob 'horizon'. Did you mean 'horizon_s'"),
        ({"knobs": {"horizon_s": [0.5, 10.0]}}, "bounds of knob 'horizon_s' = .* 1 <= low < high <= 400"),
        ({"knobs": {"horizon_s": [20.0, 10.0]}}, "low < high"),
        ({"knobs": {"horizon_s": 3.0}}, "must be \\[low, high\\]"),
        ({"knobs": {}}, "has nothing to choose"),
        ({"knobs": {"horizon_s": None}, "fixed": {"horizon_s": 3.0}}, "both moves and is fixed"),
        ({"knobs": {"horizon_s": None}, "fixed": {"horizon": 3.0}}, "unknown knob 'horizon'"),
        ({"knobs": {"horizon_s": None}, "lengths": ["exact"]}, "'exact' knows true output lengths"),
        ({"knobs": {"horizon_s": None}, "schedulers": ["ands"]}, "unknown scheduler 'ands'"),
    ],
)
def test_a_search_that_cannot_work_is_refused(search: dict[str, Any], told: str) -> None:
    with pytest.raises(AndesError, match=told):
        from_mapping(SearchSettings, {"name": "mine", **search})


def test_the_first_start_is_tried_with_variations() -> None:
    given = {"name": "mine", "knobs": {"horizon_s": None, "kv_reserve": None}, "lengths": ["none", "hazard"]}
    space = from_mapping(SearchSettings, {**given, "variations": [{"lengths": "hazard"}, {"kv_reserve": 0.1}]})
    first = {"horizon_s": 20.0, "kv_reserve": 0.0, "lengths": "none"}
    starts = space.starts([SchedulerSettings("a", knobs={"horizon_s": 20.0}), SchedulerSettings("b")])
    assert starts[0] == first and starts[1]["horizon_s"] == 10.0
    assert starts[2:] == [{**first, "lengths": "hazard"}, {**first, "kv_reserve": 0.1}]
    for wrong, told in (({"length": "none"}, "Did you mean 'lengths'"), ({"kv_reserve": 0.9}, "does not reach")):
        with pytest.raises(AndesError, match=told):
            from_mapping(SearchSettings, {**given, "variations": [wrong]}).starts([SchedulerSettings("a")])


def test_a_start_outside_the_bounds_is_refused(tmp_path: Path) -> None:
    search = {"name": "toy", "knobs": {"batch_cap": [10.0, 20.0]}}
    with pytest.raises(ConfigError, match=r"start 'narrow' has batch_cap = 4\.0, which search 'toy' does not reach"):
        tune(config(tmp_path / "run", search=search))
    assert not (tmp_path / "run").exists()


def test_a_trial_is_stopped_by_the_mean_not_by_how_often_it_loses() -> None:
    """Much won on two workloads in ten outweighs a little lost on eight: by rank such a setting looks worse."""
    study = optuna.create_study(direction="maximize")
    best = optuna.trial.create_trial(value=0.0, intermediate_values=dict.fromkeys(range(10), 0.0))
    study.add_trial(best)
    pruner = PairedPruner(startup_steps=4)

    def stopped(scores: list[float]) -> bool:
        trial = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(scores)))
        return pruner.prune(study, trial)

    assert not stopped([-0.01] * 4 + [0.3] + [-0.01] * 4 + [0.3])
    assert not stopped([-0.01, -0.02, 0.3, -0.01])
    assert stopped([-0.01, -0.02, -0.015, -0.01])
    assert not stopped([-0.01, -0.02, -0.015])  # too early to tell


@pytest.mark.parametrize("override", ["study.sampler=grid", "study.pruner=best", "study.trials=0", "study.minutes=-1"])
def test_a_study_that_cannot_work_is_refused(override: str, tmp_path: Path) -> None:
    with pytest.raises(AndesError, match=override.partition("=")[0].partition(".")[2]):
        config(tmp_path / "run", override)


STARTS = {"static_index": "static_index"}


@pytest.mark.parametrize("name", group_names("search"))
def test_the_searches_that_come_with_it_can_start(name: str, tmp_path: Path) -> None:
    starts = [f"scheduler@start.{start}={STARTS[name]}" for start in ("tuned_andes", "andes") if name in STARTS]
    given = from_mapping(TuneConfig, compose("tune", f"search={name}", f"run_dir={tmp_path}", *starts))
    assert given.search.name == name
    for start in given.start.values():
        again = given.search.setting(given.search.values(start))
        moved = {key: again.knobs[key] for key in given.search.knobs}
        assert moved == {key: pytest.approx(start.contender.start_knobs[key], rel=1e-3) for key in moved}
    if name == "best_static":
        assert set(given.search.knobs) == set(KNOB_NAMES) - set(INDEX_NAMES)  # weights of an index are for learning


def test_bounds_and_scales_are_those_of_the_knobs() -> None:
    search = SearchSettings("all", {entry.name: None for entry in KNOBS}, ("andes", "srpt"), ("none", "hazard"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    setting = search.suggest(trial)
    for entry in KNOBS:
        shape = trial.distributions[entry.name]
        assert (shape.low, shape.high, shape.log) == (entry.low, entry.high, entry.log)
    assert setting.contender.start_knobs == search.setting(trial.params).contender.start_knobs


def test_nothing_of_held_out_is_tuned_on(tmp_path: Path) -> None:
    """Neither its seeds nor its engines nor its length families; nor anything of the validation split."""
    given = from_mapping(TuneConfig, compose("tune", f"run_dir={tmp_path}"))
    mine = training_settings(given)
    theirs = suite_of(from_mapping(CompareConfig, compose("compare", "suite=held_out"))).settings
    assert {setting.split for setting in mine} == {"tuning"} and len(set(SPLITS.values())) == len(SPLITS)
    assert not {s.engine.step_time.name for s in mine} & {s.engine.step_time.name for s in theirs}
    assert not {spec_of(s.workload).lengths for s in mine} & {spec_of(s.workload).lengths for s in theirs}
    judged = validation_settings(given, mine)
    assert {setting.split for setting in judged} == {"validation"}
    small = [replace(settings[-1], seeds=2) for settings in (mine, judged)]
    drawn = [{scenario.workload.fingerprint for scenario in setting.scenarios()} for setting in small]
    assert len(drawn[0]) == len(drawn[1]) > 2 and not drawn[0] & drawn[1]
    held_out = from_mapping(
        TuneConfig,
        {**compose("tune"), "suite": compose("compare", "suite=held_out")["suite"], "run_dir": str(tmp_path)},
    )
    with pytest.raises(ConfigError, match="is of the held_out split, which a search must not see"):
        training_settings(held_out)


def test_the_objective_weighs_every_workload_alike_and_takes_off_what_is_bad() -> None:
    weights = ObjectiveSettings(qoe_mean=1.0, qoe_p10=0.5, late_share=0.25, throughput_loss=0.1)
    assert weights.score(Terms(0.1, 0.2, 0.4, 0.3)) == pytest.approx(0.1 + 0.1 - 0.1 - 0.03)
    scores = [0.4, 0.0, 0.8, -0.4, 0.2, 0.2, 0.2, 0.2]
    assert weights.total(scores) == pytest.approx(0.2)
    assert replace(weights, worst_quarter=1.0).total(scores) == pytest.approx(-0.2)
    assert replace(weights, worst_quarter=0.5).total(scores) == pytest.approx(0.0)
    for wrong in ({"qoe_p10": -1.0}, {"qoe_mean": 0.0}, {"worst_quarter": 1.5}, {"late_share": float("nan")}):
        with pytest.raises(ConfigError):
            ObjectiveSettings(**wrong)


def test_the_reference_is_zero_and_the_order_is_fixed(tmp_path: Path) -> None:
    given = config(tmp_path / "run", "seeds=4")
    settings, reference = training_settings(given), given.reference.contender
    course = Course(settings, reference, 0)
    assert list(course.terms(reference)) == [Terms(0.0, 0.0, 0.0, 0.0)] * 4
    wide = replace(reference, knobs={})
    assert list(course.terms(wide)) == list(Course(settings, reference, 0).terms(wide))
    assert list(course.terms(wide)) != list(Course(settings, reference, 1).terms(wide))


def _difference(metric: str, mean: float) -> Difference:
    return Difference("a", "b", metric, mean, mean - 0.01, mean + 0.01, 0.5, 3)


@pytest.mark.parametrize(
    ("mean", "p10", "late", "won"),
    [(0.02, 0.0, 0.0, True), (0.005, 0.0, 0.0, False), (0.02, -0.02, 0.0, False), (0.02, 0.0, 0.02, False)],
)
def test_a_winner_is_better_and_its_tail_no_worse(mean: float, p10: float, late: float, won: bool) -> None:
    pairs = (("qoe_mean", mean), ("qoe_p10", p10), ("late_share", late))
    assert is_better([_difference(metric, value) for metric, value in pairs]) is won


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "tuning").glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_winner_is_the_scheduler_that_comes_with_it(path: Path) -> None:
    record = json.loads(path.read_text())
    given = yaml.safe_load((ROOT / "conf" / "scheduler" / f"{path.stem}.yaml").read_text())
    assert record["winner"] == given and record["better"] is True and record["suite"] == "tuning"
    best = record["top"][0]
    assert best["knobs"] == given["knobs"] and best["value"] > 0.0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("search=tuned_ands", "unknown search 'tuned_ands'. Did you mean 'tuned_andes'?"),
        (
            "search.knobs.horizon_s=[0,5]",
            "bounds of knob 'horizon_s' = [0, 5] must be [low, high] with 1 <= low < high <= 400",
        ),
        ("+search.knobs.horizon=[1,5]", "unknown knob 'horizon'. Did you mean 'horizon_s'?"),
    ],
)
def test_wrong_input_is_told_in_one_line(override: str, told: str, tmp_path: Path, refusal: Refusal) -> None:
    assert told in refusal("tune", override, f"run_dir={tmp_path}/run")
    assert not (tmp_path / "run" / JOURNAL).exists()
