"""The command that compares the simulator with live vLLM, and the tables it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.config import SchedulerSettings
from agents.export import policy_folder
from agents.fidelity import FidelityConfig, _contenders, fidelity
from agents.schema import ConfigError
from andes_engine.policy.bundle import load_bundle
from andes_engine.report.fidelity import AGAIN, LIVE, Comparison, agreement_sentences, fidelity_grid, ranking_grid
from tests.live.stubs import INSTALLED

ROOT = Path(__file__).parents[2]


def _comparison(scheduler: str, live_qoe: float, other_qoe: float, preemptions: float = 0.5) -> Comparison:
    metrics = {
        name: {"qoe_mean": qoe, "ttft_p50_s": 2.0, "ttft_p90_s": 4.0, "preemptions_per_request": preemptions}
        for name, qoe in ((LIVE, live_qoe), ("simulator", other_qoe))
    }
    metrics["simulator"]["ttft_p90_s"] = 5.0
    return Comparison(scheduler, 1.2, 0.1, metrics)


def test_who_keeps_kv_caches_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Its two engines cannot both have the KV connector, and a simulator that has one would compare something else."""
    config = FidelityConfig(0, str(tmp_path / "run"), {"mine": SchedulerSettings("mine", keep_kv=2.0)})
    with pytest.raises(ConfigError, match=r"contender 'mine' keeps the KV caches .* set keep_kv to 0"):
        fidelity(config)
    assert not (tmp_path / "run").exists()


def test_differences_are_by_workload_and_against_live() -> None:
    entries = [_comparison("fcfs", 0.50, 0.51), _comparison("fcfs", 0.70, 0.68), _comparison("andes", 0.90, 0.60, 0.01)]
    grid = fidelity_grid(entries)
    rows = {(row[1].value, row[2].value): row for row in grid.rows}
    assert rows["fcfs", "simulator"][4].text == "-0.005 [-0.020 to +0.010]"
    assert [cell.value for cell in rows["fcfs", "simulator"][5:7]] == ["1.00", "1.25"]
    assert rows["fcfs", "simulator"][7].value == "1.00"
    assert rows["andes", "simulator"][7].value == "–"  # too few preemptions for a ratio
    assert rows["fcfs", LIVE][4].value == "–"
    ((load, live, simulated),) = ranking_grid(entries).rows
    assert load.value == "1.2"
    assert live.value == "andes 0.900 > fcfs 0.600"
    assert simulated.value.endswith("fcfs 0.595")


def test_what_agrees_is_counted_and_few_preemptions_do_not_count() -> None:
    entries = [_comparison("fcfs", 0.50, 0.51), _comparison("fcfs", 1.0, 0.97), _comparison("andes", 0.90, 0.60, 0.01)]
    _, said = agreement_sentences(entries)
    assert "within 0.02 of live in 1 of 3 runs (1 of 2 where readers waited), median 0.030, largest 0.300" in said
    assert "within 10%: TTFT p50 3 of 3, p90 0 of 3, preemptions 2 of 2;" in said
    assert said.endswith("within 10% or 50 ms: TTFT p50 3, p90 0.")


def test_a_policy_that_was_trained_to_keep_kv_caches_recomputes() -> None:
    (policy,) = _contenders(FidelityConfig(0, "nowhere", {}, policy="zoo/patient"))
    assert load_bundle(policy_folder("zoo/patient")).keep_kv > 0.0 == policy.keep_kv


@pytest.mark.parametrize("wrong", [{"loads": ()}, {"loads": (0.0,)}, {"seeds": 0}, {"duration_s": -1.0}])
def test_what_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    contenders: dict[str, SchedulerSettings] = {}
    with pytest.raises(ConfigError, match="loads > 0, seeds >= 1"):
        FidelityConfig(0, "runs/nowhere", contenders, **wrong)  # type: ignore[arg-type]


@pytest.mark.slow
@INSTALLED
def test_the_command_runs_every_engine(tmp_path: Path) -> None:
    small = [f"run_dir={tmp_path / 'f'}", "loads=[1.5]", "seeds=1", "duration_s=2.0"]
    command = [sys.executable, "-m", "scripts.fidelity", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    runs = json.loads((tmp_path / "f" / "results.json").read_text())["runs"]
    assert [entry["scheduler"] for entry in runs] == ["fcfs", "andes"]
    assert all(entry["engines"][LIVE]["unfinished"] == 0 for entry in runs)
    fcfs = runs[0]["engines"]
    virtual, simulated = fcfs["vLLM's scheduler, virtual clock"], fcfs["simulator"]
    assert simulated["qoe_mean"] == pytest.approx(virtual["qoe_mean"], abs=1e-6)
    assert fcfs["real engine, emulated device"]["unfinished"] == fcfs[AGAIN]["unfinished"] == 0
    assert "Ranking of the schedulers" in (tmp_path / "f" / "table.md").read_text()
