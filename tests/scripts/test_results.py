"""The results and the zoo from the command line: every part of them, small; resumed; and the README's goals."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import update_readme
from tests.engine.test_policy import make_bundle
from tests.scripts.readme_block import updated
from tests.scripts.stopping import ROOT, stopped
from tests.scripts.test_cli import script


@pytest.mark.slow
def test_small_results_have_every_part_and_go_on_where_they_were(tmp_path: Path) -> None:
    runs = [
        str(replace(make_bundle(0.2 * seed), provenance={"seed": seed}).save(tmp_path / f"run{seed}" / "bundle").parent)
        for seed in (1, 2)
    ]
    run = tmp_path / "results"
    small = [
        *("size=smoke", f"run_dir={run}", "recorded=null", "curves=[]", "policies=[mine]", "++notes.a=because"),
        f"+ablations.mine={{what: nothing, runs: [{','.join(runs)}]}}",
    ]
    said = script("results", *small).stdout
    assert f"page: {run}/RESULTS.md" in said and "gap from tuned_andes to clairvoyant" in said
    page = (run / "RESULTS.md").read_text()
    for heading in ("Goals", "Everybody", "Where the policy wins, and where not", "Ablations", "Capacity"):
        assert f"## {heading}\n" in page
    assert "| because |" in page and "| clairvoyant |" in page and "| sharegpt | mine |" in page
    assert {path.name for path in (run / "docs" / "results").iterdir()} == {"rows.parquet", "capacity.parquet"}
    goals = json.loads((run / "results.json").read_text())["goals"]
    assert sorted({goal[0] for goal in goals}) == [f"({letter})" for letter in "abcdefgh"]
    again = script("results", *small).stdout
    assert "runs are in" in again and "simulating" not in again
    refused = script("results", *small, "out=.", code=2).stderr
    assert "leave out= away" in refused and refused.count("\n") == 1


@pytest.mark.slow
def test_interrupted_results_say_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, said = stopped(["scripts.results", "size=smoke", "recorded=null"], run, signal.SIGINT, 1)
    assert code == 130
    assert f"start again with run_dir={run}" in said and "Traceback" not in said


def test_the_zoo_is_shown_and_says_what_is_missing() -> None:
    assert "Policies of the zoo" in script("zoo").stdout
    assert "give name=NAME and runs=[RUN,...] together" in script("zoo", "name=mine", code=2).stderr
    refused = script("compare", "policy=zoo/nobody", code=2).stderr
    assert "unknown policy of the zoo 'nobody'" in refused and refused.count("\n") == 1


def test_the_readme_has_the_goals_of_the_committed_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split(update_readme.GOALS_BEGIN)[1]
    pages = block.split(update_readme.GOALS_END)[0], (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    goals, told = ([line for line in page.splitlines() if line.startswith(("| goal", "| ("))] for page in pages)
    assert len(goals) > 20
    assert goals == [line[: len(goal)] for goal, line in zip(goals, told, strict=True)]
    results = {"commit": "c", "columns": ["goal", "what"], "goals": [["(a)", "more"]]}
    markers = update_readme.GOALS_BEGIN, update_readme.GOALS_END
    assert "| (a) | more |" in updated(tmp_path, monkeypatch, results, markers, "results")
