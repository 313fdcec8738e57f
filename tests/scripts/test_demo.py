"""The whole road, small: train, compare, compare on a trace, export, serve in live vLLM, report; and the README made from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from andes_engine.report.fidelity import AT_SPEED
from scripts import update_readme
from tests.live.stubs import INSTALLED

ROOT = Path(__file__).parents[2]
SMALL = [
    'train=["experiment=debug","tracking=none","train.steps=64"]',
    'compare=["engine=cpu_tiny","workload=tiny","workload.duration_s=5","loads=[1.2]","seeds=2","references=[andes]","workers=1"]',
    "trace_requests=40",
]


def run_demo(*overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.demo", *SMALL, *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == code, (
        f"{command} returned {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done


@pytest.fixture
def small_trace(tmp_path: Path) -> Path:
    """Sixty requests in the format of the Azure trace."""
    rng = np.random.default_rng(0)
    rows = [
        f"2023-11-16 18:15:{second:02d}.5000000,{rng.integers(20, 200)},{rng.integers(5, 80)}" for second in range(60)
    ]
    path = tmp_path / "trace with spaces, and commas.csv"
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    return path


@pytest.mark.slow
@INSTALLED
def test_demo_end_to_end(tmp_path: Path, small_trace: Path) -> None:
    run = tmp_path / "demo"
    live = ["live.duration_s=2.0", "live.load=2.0"]
    said = run_demo(f"run_dir={run}", f"trace='{small_trace}'", *live).stdout
    assert f"{run}/report.html" in said.replace("\n", "")
    results = json.loads((run / "results.json").read_text())
    assert set(results["seconds"]) >= {
        "train in the simulator",
        "compare on the trace",
        "serve the bundle in live vLLM",
    }
    for tier in ("simulated", "at_speed", "live"):
        assert [entry["scheduler"] for entry in results["live"][tier]] == ["fcfs", "andes", "learned"]
        assert all(entry["unfinished"] == 0 for entry in results["live"][tier])
    learned = results["live"]["live"][-1]
    assert learned["policy_decisions"] > 0 and learned["planner_failures"] == 0
    slowdown = results["live"]["live"][0]["slowdown"]
    as_calibrated, at_speed = (results["live"][tier][0]["tokens_per_s"] for tier in ("simulated", "at_speed"))
    assert (at_speed < as_calibrated) == (slowdown > 1.0) and slowdown != 1.0
    table = (run / "table.md").read_text()
    assert "live vLLM" in table and AT_SPEED in table and "| learned |" in table
    page = (run / "report.html").read_text()
    assert page.count("<svg") >= 4 and "every live request got" in page.lower()
    assert (run / "figures" / "token_timelines_in_live_vllm.svg").is_file()
    text = update_readme.results_text([run])
    readme = update_readme.replaced((ROOT / "README.md").read_text(encoding="utf-8"), text)
    assert table.strip().splitlines()[0] in readme and readme.count(update_readme.BEGIN) == 1


def test_a_missing_trace_is_told_before_training(tmp_path: Path) -> None:
    done = run_demo(f"run_dir={tmp_path / 'demo'}", "trace=nowhere.csv", "live=null", code=2)
    assert "nowhere.csv: no such file" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "demo" / "train").exists()


def test_a_malformed_row_is_named(tmp_path: Path, small_trace: Path) -> None:
    lines = small_trace.read_text().splitlines()
    lines[7] = lines[7].replace(",", ";")
    small_trace.write_text("\n".join(lines))
    done = run_demo(f"run_dir={tmp_path / 'demo'}", f"trace='{small_trace}'", "live=null", code=2)
    assert "line 8" in done.stderr and "Traceback" not in done.stderr


def test_readme_without_markers_is_refused() -> None:
    with pytest.raises(SystemExit, match="results:begin"):
        update_readme.replaced("nothing here", "text")


@pytest.mark.slow
@INSTALLED
def test_live_benefit_script(tmp_path: Path) -> None:
    settings = ("policy=[zoo/patient_seed0,zoo/patient]", f"run_dir={tmp_path / 'lb'}", "live.bursts=1")
    command = [sys.executable, "-m", "scripts.live_benefit", *settings]
    done = subprocess.run(
        [*command, "live.duration_s=2.0"], cwd=ROOT, capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "of the throughput lost" in " ".join(done.stdout.split())  # wherever the terminal wraps it
    runs = json.loads((tmp_path / "lb" / "results.json").read_text())["runs"]
    assert [entry["scheduler"] for entry in runs] == ["fcfs", "andes", "patient_seed0", "patient"]
