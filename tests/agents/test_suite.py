"""Suites: what the files make, that held_out is held out, and that what cannot work is told by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.build import SPLITS, env_config, spec_of
from agents.cli import compose, group_names
from agents.config import CompareConfig, TrainConfig
from agents.schema import ConfigError, from_mapping
from agents.suite import Setting, Suite
from agents.suite_file import suite_of
from andes_engine.contender import Contender
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.workload.lengths import Lengths, MixedLengths
from andes_engine.workload.traffic import WorkloadSpec
from envs import EnvConfig

FCFS = [Contender("fcfs", "fcfs")]


def config(*overrides: str, **grid: Any) -> CompareConfig:
    given = compose("compare", *overrides)
    suite = {"suite": {"name": "mine", "grids": {"all": grid}}} if grid else {}
    return from_mapping(CompareConfig, {**given, **suite})


@pytest.fixture
def azure_trace(tmp_path: Path) -> Path:
    rows = [f"2024-01-01 00:00:{0.5 * row:09.6f},{100 + row},{20 + row}" for row in range(40)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    return path


def test_without_a_suite_there_is_one_setting_without_a_name() -> None:
    (setting,) = suite_of(config("engine=cpu_tiny", "workload=tiny")).settings
    assert (setting.name, setting.engine.name, setting.workload.name) == ("", "cpu_tiny", "tiny")
    assert (setting.loads, setting.seeds, setting.split) == ((0.8, 1.0, 1.2), 3, "held_out")


def test_a_grid_is_every_engine_with_every_workload_and_every_variation() -> None:
    suite = suite_of(
        config(
            engines={"small": {"engine": "cpu_tiny", "kv_blocks": 60}, "cpu_tiny": None},
            workloads=["tiny"],
            vary={"duration_s": [5, 10], "arrivals": {"even": "poisson", "peaks": {"kind": "gamma", "shape": 0.5}}},
            loads=[0.5],
            seeds=1,
            split="validation",
        )
    )
    names = [setting.name for setting in suite.settings]
    assert names[:3] == [
        "small, tiny, 5, even",
        "small, tiny, 5, peaks",
        "small, tiny, 10, even",
    ]
    assert len(suite.settings) == 8
    first, last = suite.settings[0], suite.settings[-1]
    assert (first.engine.kv_blocks, first.engine.name, last.engine.kv_blocks) == (60, "small", 119)
    assert (first.workload.duration_s, last.workload.arrivals) == (5.0, {"kind": "gamma", "shape": 0.5})
    assert (last.loads, last.seeds, last.split) == ((0.5,), 1, "validation")


@pytest.mark.parametrize("name", ["smoke", "paper", "held_out", "shifting"])
def test_the_suites_that_come_with_it_can_be_drawn(name: str) -> None:
    suite = suite_of(config(f"suite={name}"))
    assert suite.name == name and len(suite.settings) > 1
    first = suite.settings[0]
    assert len(first.scenarios()) == len(first.loads) * first.seeds


def test_the_paper_s_suite_has_its_grid() -> None:
    settings = suite_of(config("suite=paper")).settings
    bursts = [setting.workload for setting in settings if setting.workload.name.startswith("burst,")]
    assert {setting.workload.lengths for setting in settings} == {"sharegpt_multi_round", "arxiv", "coding"}
    assert len({setting.engine.name for setting in settings}) == 4
    assert {workload.arrivals.get("intensity", 2.0) for workload in bursts} == {1.2, 1.6, 2.0, 2.4, 2.8}
    assert {workload.arrivals.get("duration_share", 0.35) for workload in bursts} == {0.25, 0.3, 0.35, 0.4, 0.45}
    assert {setting.workload.name.split(",")[0] for setting in settings} == {
        "burst",
        "poisson",
        "gamma",
        "burstgpt hour",
    }


def families(specs: Iterable[WorkloadSpec]) -> set[Lengths]:
    """Length families that traffic can draw from, in any segment and any mix."""
    lengths = [stretch.spec.lengths for spec in specs for stretch in spec.stretches]
    return {kind for one in lengths for kind in (one.kinds if isinstance(one, MixedLengths) else (one,))}


def trained() -> list[EnvConfig]:
    """What every training run of `conf/` draws from: each experiment, and each kind of traffic by itself."""
    experiments = [f"experiment={name}" for name in group_names("experiment")]
    traffic = [f"workload={name}" for name in group_names("workload")]
    choices = ([], *([choice] for choice in experiments + traffic))
    return [env_config(from_mapping(TrainConfig, compose("train", *choice))) for choice in choices]


def test_nothing_of_held_out_can_be_trained_on() -> None:
    """Its engines and length families are those of no training run of `conf/`, and its seeds come from another entropy."""
    runs = trained()
    settings = suite_of(config("suite=held_out")).settings
    engines = {engine.step_time.name for env in runs for engine in env.engines}
    lengths = families(spec for env in runs for spec in env.workloads)
    assert len(engines) == 6 and len(lengths) == 6
    for setting in settings:
        assert setting.split == "held_out" and min(setting.loads) == 0.5 and max(setting.loads) == 1.5
        assert setting.engine.step_time.name not in engines
    assert not lengths & families(spec_of(setting.workload) for setting in settings)
    # training draws from its seed, a small number, or from the validation split
    assert SPLITS["held_out"] != SPLITS["validation"] and min(SPLITS.values()) > 2**30


def test_shifting_traffic_is_held_out_on_engines_trained_on_and_not() -> None:
    runs = trained()
    settings = suite_of(config("suite=shifting")).settings
    specs = [spec_of(setting.workload) for setting in settings]
    assert {setting.split for setting in settings} == {"held_out"}
    assert all(len(spec.segments) >= 3 for spec in specs)
    assert not families(specs) & families(spec for env in runs for spec in env.workloads)
    searched = suite_of(from_mapping(CompareConfig, {**compose("compare"), "suite": compose("tune")["suite"]})).settings
    assert not families(specs) & families(spec_of(setting.workload) for setting in searched)
    known = {engine.step_time.name for env in runs for engine in env.engines}
    engines = {(setting.engine.step_time.name in known, setting.engine.slowdown) for setting in settings}
    assert engines == {(True, 1.0), (True, 1.6), (False, 1.0), (False, 1.6)}


def test_the_robust_policy_is_trained_on_every_engine_varied_and_on_traffic_that_shifts() -> None:
    env = env_config(from_mapping(TrainConfig, compose("train", "experiment=robust")))
    assert len({engine.name for engine in env.engines}) == 6
    assert {bool(spec.segments) for spec in env.workloads} == {True, False}
    assert (env.load, env.reward.reference) == ((0.6, 1.5), 0.0)  # whole episodes are compared, nothing is paired
    low, high = env.variation.slowdown
    assert low < 1.0 < high and len(env.variation.all_of(env.engines[0])) > 1
    assert all(60.0 <= spec.duration_s <= 180.0 for spec in env.workloads if spec.duration_s)
    for engine in env.engines:
        assert {bool(spec.segments) for spec in env.traffic_for(engine)} == {True, False}


def test_a_trace_is_replayed_at_its_own_rate_and_at_loads(azure_trace: Path) -> None:
    (setting,) = suite_of(config("suite=trace", f"trace={azure_trace}", "engine=cpu_tiny", "seeds=1")).settings
    found = setting.scenarios()
    assert [scenario.stratum for scenario in found] == ["as recorded", "load 0.8", "load 1", "load 1.2"]
    assert setting.stratum(found[0]) == "cpu_tiny, trace, as recorded"
    assert found[3].workload.rate / found[1].workload.rate == pytest.approx(1.5)
    with pytest.raises(ConfigError, match="suite 'trace' replays a recorded trace: give trace=PATH"):
        suite_of(config("suite=trace"))
    with pytest.raises(ConfigError, match="suite 'smoke' has traffic of its own"):
        suite_of(config("suite=smoke", f"trace={azure_trace}"))


def test_a_file_of_lengths_has_no_rate_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("prompt_chars,output_tokens,seconds_per_token\n" + "400,90,0.2\n" * 20)
    (setting,) = suite_of(config("suite=trace", f"trace={path}", "engine=cpu_tiny")).settings
    assert setting.loads == (0.8, 1.0, 1.2)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"engines": ["cpu_tinny"]}, r"unknown engine in suite.grids.all 'cpu_tinny'\. Did you mean 'cpu_tiny'"),
        ({"workloads": ["bursty"]}, r"unknown workload in suite.grids.all 'bursty'\. Did you mean 'burst'"),
        ({"engines": []}, "suite 'mine' is empty"),
        ({"engines": "cpu_tiny"}, "suite.grids.all.engines = 'cpu_tiny' must be a list of names"),
        ({"engines": {"cpu_tiny": 3}}, "suite.grids.all.engines.cpu_tiny = 3 must be a mapping"),
        ({"engines": {"cpu_tiny": {"kv_block": 3}}}, "Did you mean 'kv_blocks'"),
        ({"workloads": {"tiny": {"duration_s": "long"}}}, "suite.grids.all.workloads.tiny.duration_s = 'long' must be"),
        ({"vary": {"length": ["arxiv"]}}, "unknown setting of a workload in suite.grids.all.vary.length 'length'"),
        ({"vary": {"lengths": "arxiv"}}, "suite.grids.all.vary.lengths = 'arxiv' must be a list"),
        ({"loads": []}, "setting 'rtx4090_llama3_8b, burst': loads"),
        ({"loads": ["fast"]}, "suite.grids.all.loads: 'fast' must be a share"),
        ({"loads": ["recorded"]}, "workload 'burst' replays no trace"),
        ({"loads": [0.0]}, "finite and > 0"),
        ({"seeds": 0}, "asked for 0 workload seeds"),
        ({"split": "test"}, "unknown split 'test'"),
        ({"load": [1.0]}, "unknown setting of suite.grids.all 'load'. Did you mean 'loads'"),
    ],
)
def test_a_grid_that_cannot_work_is_named(grid: dict[str, Any], told: str) -> None:
    with pytest.raises(AndesError, match=told):
        suite_of(config(**grid))


def test_settings_need_names_and_contenders() -> None:
    (setting,) = suite_of(config("engine=cpu_tiny", "workload=tiny", "workload.duration_s=3", "loads=[1.0]")).settings
    with pytest.raises(ConfigError, match="is empty"):
        Suite("none", ())
    with pytest.raises(ConfigError, match="two settings"):
        Suite("twice", (setting, setting))
    with pytest.raises(ConfigError, match="nobody takes part"):
        Suite("s", (setting,)).runs()
    with pytest.raises(ConfigError, match="different names"):
        Suite("s", (setting,)).runs(FCFS * 2)
    with pytest.raises(UnknownNameError, match="unknown split"):
        Setting("s", setting.engine, setting.workload, split="mine")


def test_variants_of_an_engine_get_the_same_requests_and_their_own_contenders() -> None:
    (base,) = suite_of(
        config("engine=cpu_tiny", "workload=tiny", "workload.duration_s=3", "loads=[1.0]", "seeds=1")
    ).settings
    wider = replace(base, name="wider", engine=replace(base.engine, kv_blocks=500), contenders=(Contender("andes"),))
    own_load = Suite("s", (replace(base, name="base"), wider)).runs(FCFS)
    same_load = Suite("s", (replace(base, name="base"), replace(wider, load_engine=base.engine))).runs(FCFS)
    assert own_load[0].scenario.workload != own_load[1].scenario.workload
    assert same_load[0].scenario.workload == same_load[1].scenario.workload
    assert [run.contender.name for run in same_load] == ["fcfs", "andes"]
