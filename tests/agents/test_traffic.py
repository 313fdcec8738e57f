"""From workload settings to traffic: users, conversations, and traces of each kind, as a command line gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.build import Scenario, spec_of
from agents.cli import compose
from agents.config import CompareConfig
from agents.schema import ConfigError, from_mapping
from agents.suite_file import suite_of
from andes_engine.errors import AndesError
from andes_engine.workload.multi_round import MultiRound
from andes_engine.workload.readers import Patience
from andes_engine.workload.traffic import segment_of
from andes_engine.workload.users import Users


def config(*overrides: str) -> CompareConfig:
    return from_mapping(CompareConfig, compose("compare", *overrides))


def scenarios_of(config: CompareConfig) -> list[Scenario]:
    return suite_of(config).settings[0].scenarios()


def test_a_workload_file_with_users_patience_and_conversations() -> None:
    spec = spec_of(config("workload=multi_round").workload)
    assert (spec.users, spec.patience) == (Users(20, 1.0), Patience(60.0, 0.1))
    assert spec.multi_round == MultiRound(4.0, 30.0, 8192)
    assert spec_of(config("workload=poisson", "workload.users=7").workload).users == Users(7)


def test_a_workload_file_with_segments_is_drawn_at_the_loads_of_its_lengths() -> None:
    settings = config("engine=cpu_tiny", "workload=flash_crowd", "loads=[0.5,1.0]", "seeds=2")
    spec = spec_of(settings.workload)
    assert [stretch.name for stretch in spec.stretches] == ["before", "crowd", "after"]
    found = scenarios_of(settings)
    assert [scenario.stratum for scenario in found] == ["load 0.5"] * 2 + ["load 1"] * 2
    for scenario in found:
        counts = np.bincount(segment_of(spec, scenario.workload.arrival_s))
        assert counts[1] == pytest.approx(3.0 * 2.0 / 7.0 * counts[0], rel=0.3)
    again = scenarios_of(settings)
    assert [one.workload for one in found] == [one.workload for one in again]


def test_a_mooncake_trace_is_replayed_with_its_hashes(mooncake_trace: Path) -> None:
    given = ("workload=mooncake", f"trace='{mooncake_trace}'", "seeds=1")
    (scenario,) = scenarios_of(config(*given, "workload.requests=400", "workload.users=5", "workload.patience=20"))
    workload = scenario.workload
    assert scenario.stratum == "as recorded"
    assert len(workload) > 300
    assert (workload.block_hashes.counts == -(-workload.prompt_tokens // 512)).all()
    assert np.unique(workload.user).tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(workload.abort_s).all()
    for override in ("workload.multi_round=3", "workload.segments=[{share: 1}]"):
        with pytest.raises(ConfigError, match="a replayed trace has its own"):
            scenarios_of(config(*given, override))


def test_a_burstgpt_trace_is_replayed_without_its_failures(tmp_path: Path) -> None:
    rows = ["5,ChatGPT,472,18,490,Conversation log", "45,GPT-4,0,0,0,API log", "118,GPT-4,417,276,693,API log"]
    path = tmp_path / "BurstGPT_1.csv"
    path.write_text("\n".join(["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", *rows]) + "\n")
    (scenario,) = scenarios_of(config("workload=burstgpt", f"trace='{path}'", "seeds=1"))
    assert scenario.workload.arrival_s.tolist() == [0.0, 113.0]


def test_a_file_of_lengths_is_drawn_from_with_its_paces(sharegpt_lengths: Path) -> None:
    """It has no times, so that a comparison draws arrivals at each load instead of replaying it."""
    given = ("workload=poisson", f"trace='{sharegpt_lengths}'", "workload.readers=recorded", "workload.duration_s=60")
    scenarios = scenarios_of(config(*given, "seeds=1", "loads=[0.5,1.0]"))
    assert [scenario.stratum for scenario in scenarios] == ["load 0.5", "load 1"]
    spec = spec_of(config(*given[:1], f"workload.trace='{sharegpt_lengths}'", *given[2:]).workload)
    assert spec.readers.share == (540.0, 1049.0, 223.0, 120.0, 68.0)
    assert len(spec.lengths.prompt_tokens) == 2000
    with pytest.raises(AndesError, match="'recorded'"):
        spec_of(config("workload=poisson", "workload.readers=recorded").workload)
