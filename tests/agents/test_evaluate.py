from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.build import SPLITS, Scenario
from agents.cli import compose
from agents.compare import compare, contenders_of
from agents.config import CompareConfig
from agents.evaluate import differences, evaluate
from agents.schema import ConfigError, from_mapping
from agents.suite_file import suite_of
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, CapacityError, UnknownNameError
from tests.conftest import make_workload

SMALL = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=8", "loads=[0.9,1.3]", "seeds=2", "workers=1")
SCHEDULERS = [Contender("fcfs", "fcfs"), Contender("andes"), Contender("slow", knobs={"batch_cap": 4.0})]


def config(*overrides: str) -> CompareConfig:
    return from_mapping(CompareConfig, compose("compare", *SMALL, *overrides))


def scenarios_of(config: CompareConfig) -> list[Scenario]:
    return suite_of(config).settings[0].scenarios()


@pytest.fixture
def scenarios() -> list[Scenario]:
    return [Scenario("a", make_workload(seed, 60, 20.0)) for seed in (1, 2)] + [
        Scenario("b", make_workload(3, 60, 30.0))
    ]


def test_processes_give_what_one_process_gives(engine: EngineConfig, scenarios: list[Scenario]) -> None:
    alone, together = (evaluate(engine, scenarios, SCHEDULERS, workers) for workers in (1, 2))
    assert [entry.stratum for entry in alone] == [entry.stratum for entry in together]
    for one, two in zip(alone, together, strict=True):
        assert one.record.scheduler == two.record.scheduler
        assert one.record.workload.fingerprint == two.record.workload.fingerprint
        assert np.array_equal(one.record.qoe, two.record.qoe)


def test_every_pair_is_compared_once(engine: EngineConfig, scenarios: list[Scenario]) -> None:
    outcomes = evaluate(engine, scenarios, SCHEDULERS)
    found = differences(outcomes, ["fcfs", "andes"], ["qoe_mean", "ttft_p90_s"])
    compared = [(entry.candidate, entry.reference) for entry in found if entry.metric == "qoe_mean"]
    assert compared == [("andes", "fcfs"), ("slow", "fcfs"), ("slow", "andes")]
    assert all(entry.workloads == 3 for entry in found)
    slow = next(entry for entry in found if entry.candidate == "slow" and entry.reference == "andes")
    assert slow.verdict == "worse"
    with pytest.raises(UnknownNameError, match=r"unknown reference contender 'ands'\. Did you mean 'andes'"):
        differences(outcomes, ["ands"], ["qoe_mean"])


def test_held_out_and_validation_workloads_differ_and_are_fixed() -> None:
    prints = {
        split: [entry.workload.fingerprint for entry in scenarios_of(config(f"split={split}"))] for split in SPLITS
    }
    again = [entry.workload.fingerprint for entry in scenarios_of(config("split=held_out", "seed=9"))]
    assert prints["held_out"] == again and len(set(again)) == 4
    assert not set(prints["held_out"]) & set(prints["validation"])
    with pytest.raises(UnknownNameError, match="Did you mean 'held_out'"):
        scenarios_of(config("split=heldout"))


def test_a_trace_is_replayed_at_its_own_rate_or_stretched(tmp_path: Path) -> None:
    trace = tmp_path / "mine.csv"
    rows = [f"2024-01-01 00:00:{0.5 * row:09.6f},{100 + row},{20 + row}" for row in range(40)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    recorded = scenarios_of(config(f"trace={trace}", "workload=trace", "workload.duration_s=null"))
    assert [entry.stratum for entry in recorded] == ["as recorded"] * 2
    assert recorded[0].workload.duration_s == pytest.approx(19.5) and len(recorded[0].workload) == 40
    stretched = scenarios_of(
        config(f"trace={trace}", "workload=trace", "workload.duration_s=null", "workload.rescale=true")
    )
    assert [entry.stratum for entry in stretched] == ["load 0.9", "load 1.3"] * 2
    rates = [entry.workload.rate for entry in stretched[:2]]
    assert rates[1] / rates[0] == pytest.approx(1.3 / 0.9)


def test_requests_too_long_are_dropped_or_refused() -> None:
    long = ("workload.lengths=azure_conv", "loads=[1.0]", "seeds=1")
    (kept,) = scenarios_of(config(*long))
    assert (kept.workload.prompt_tokens + kept.workload.output_tokens).max() <= 2048
    with pytest.raises(CapacityError, match="on_too_long=drop"):
        scenarios_of(config(*long, "workload.on_too_long=refuse"))


def test_names_must_differ_and_references_take_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="different names"):
        contenders_of(config("contenders.fcfs.name=andes"))
    with pytest.raises(ConfigError, match="'andez' does not take part"):
        contenders_of(config("references=[andez]"))
    with pytest.raises(AndesError, match="no policy bundle there"):
        contenders_of(config(f"policy={tmp_path}"))


def test_a_comparison_leaves_results_figures_and_a_report(tmp_path: Path) -> None:
    result = compare(config(f"run_dir={tmp_path / 'run'}", "metrics=[qoe_mean]"))
    results = json.loads((result.run_dir / "results.json").read_text())
    assert len(results["runs"]) == 3 * 2 * 2
    assert {run["contender"] for run in results["runs"]} == {"fcfs", "andes", "tuned_andes"}
    assert all(0.0 < run["metrics"]["qoe_mean"] <= 1.0 for run in results["runs"])
    assert {entry["candidate"] for entry in results["differences"]} == {"andes", "tuned_andes"}
    page = result.report.read_text()
    assert page.count("<svg") == len(result.figures) == 7 and "Paired differences" in page
    assert (result.run_dir / "figures" / "qoe_against_load.png").is_file()
    titles = [grid.title for grid in result.grids]
    assert len(titles) == 4 and titles[2].startswith("Contenders: ") and titles[3].startswith("Paired differences: ")
