"""`scripts.compare` with a suite, stopped in the middle and started again, and `scripts.replay` of its rows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Refusal
from tests.scripts.stopping import ROOT, finished, stopped

LONG = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=30", "loads=[1.2]", "seeds=20", "metrics=[qoe_mean]")


def script(name: str, *overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"scripts.{name}", *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == code, f"{command} returned {done.returncode}:\n{done.stdout}\n{done.stderr[-3000:]}"
    return done


def compared(workers: int) -> list[str]:
    return ["scripts.compare", *LONG, f"workers={workers}"]


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_and_ends_as_one_that_was_not(tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    code, said = stopped(compared(2), run, signal.SIGINT, 3)
    assert code == 130 and f"interrupted; finished runs are kept, start again with run_dir={run}" in said
    assert "Traceback" not in said
    kept = finished(run)
    assert stopped(compared(1), run, signal.SIGKILL, kept)[0] == -signal.SIGKILL
    assert kept < finished(run) < 60
    said = script("compare", *LONG, "workers=2", f"run_dir={run}").stdout
    assert f" of 60 runs are in {run} already" in said and "tuned_andes − andes" in said
    script("compare", *LONG, "workers=1", f"run_dir={whole}")
    first, second = (json.loads((folder / "results.json").read_text()) for folder in (run, whole))
    assert first == second and len(first["runs"]) == 60
    names = [
        sorted(path.name for path in (folder / "records").glob("[!.]*")) for folder in (run, whole)
    ]  # no cut-off ones
    assert names[0] == names[1] and len(names[0]) == 60

    said = script("compare", *LONG, "engine.kv_blocks=90", f"run_dir={run}", code=2).stderr
    assert "settings.engine.kv_blocks was 119, is 90; give another run_dir" in said and said.count("\n") == 1


@pytest.mark.slow
def test_a_suite_is_compared_and_its_rows_replayed(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    said = script("compare", "suite=smoke", "+suite.grids.all.engines=[cpu_tiny]", f"run_dir='{run}'").stdout
    assert "Paired differences: suite smoke" in said and "cpu_tiny, burst, load 1.2" in said
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 2 * 3
    drawn = {path.stem for path in (run / "figures").glob("*.png")}
    assert drawn >= {"qoe_against_load", "time_to_first_token", "tails", "token_timelines"}
    before = sorted(path for path in tmp_path.rglob("*"))
    said = script("replay", f"row={run}#{rows[0]['row'][:8]}").stdout
    assert f"row {rows[0]['row']}, " in said and "identical, bit for bit" in said
    assert sorted(path for path in tmp_path.rglob("*")) == before

    record = run / rows[0]["record"]
    record.write_bytes((run / rows[1]["record"]).read_bytes())
    assert (
        "is not the record that the row was written with"
        in script("replay", f"row={run}#{rows[0]['row']}", code=2).stderr
    )
    forged = {**rows[0], "record_hash": rows[1]["record_hash"]}
    (run / "rows.jsonl").write_text(json.dumps(forged) + "\n")
    said = script("replay", f"row={run}/rows.jsonl#{rows[0]['row']}", code=1).stdout
    assert "differs in" in said and "qoe: " in said


@pytest.mark.parametrize(
    ("name", "overrides", "told"),
    [
        ("compare", "suite=smoky", "unknown suite 'smoky'. Did you mean 'smoke'?"),
        ("compare", "suite=trace", "suite 'trace' replays a recorded trace: give trace=PATH"),
        ("compare", "suite=smoke suite.grids.all.engines=[cpu_tinny]", "Did you mean 'cpu_tiny'?"),
        ("compare", "suite=smoke ~suite.grids.all", "suite 'smoke' is empty"),
        ("replay", "", "no value for row; give row=..."),
        ("replay", "row=nowhere#1", "nowhere has no rows.jsonl; give the run directory of a comparison"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    name: str, overrides: str, told: str, tmp_path: Path, refusal: Refusal
) -> None:
    where = [f"run_dir={tmp_path}/run"] if name == "compare" else []
    assert told in refusal(name, *overrides.split(), *where)
    assert not list(tmp_path.rglob("*.json*"))
