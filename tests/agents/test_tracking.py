from __future__ import annotations

from pathlib import Path

import pytest

from agents.config import TrackingSettings
from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from agents.tracking import tracking
from andes_engine.errors import UnknownNameError
from andes_engine.report.grid import Cell, Column, Grid
from tests.agents import wandb_file

GRID = Grid("Table", (Column("scheduler", numeric=False), Column("QoE")), ((Cell("andes"), Cell("0.9")),))


def report(kind: str, run_dir: Path, **settings: str) -> None:
    bundle = run_dir / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "bundle.json").write_text("{}")
    with tracking(TrackingSettings(kind, **settings), run_dir, {"seed": 3, "deep": {"a": [1, 2]}}, "name") as tracker:
        tracker.log(10, {"curve": 0.5})
        tracker.log(20, {"curve": 0.7})
        tracker.table("table", GRID)
        tracker.artifact(bundle, "policy", {"seed": 3})


def test_wandb_keeps_config_curves_tables_and_bundle_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for place in ("a", "b"):  # twice in one process
        run_dir = tmp_path / place
        report("wandb", run_dir)
        assert wandb_file.config(run_dir)["deep"] == {"a": [1, 2]}
        curve = [(row["env_steps"], row["curve"]) for row in wandb_file.history(run_dir) if "curve" in row]
        assert curve == [(10, 0.5), (20, 0.7)]
        assert [row["table/nrows"] for row in wandb_file.history(run_dir) if "table/nrows" in row] == [1]
        assert [(entry.name, entry.type) for entry in wandb_file.artifacts(run_dir)][-1] == ("policy", "policy")
    assert not list(home.rglob("*")), "files outside the run directory"
    assert capsys.readouterr() == ("", "")


def test_tensorboard_curves_can_be_read_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, round(point.value, 3)) for point in events.Scalars("curve")] == [(10, 0.5), (20, 0.7)]


def test_none_writes_nothing(tmp_path: Path) -> None:
    report("none", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_wrong_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'wandb'"):
        TrackingSettings("wandbb")
    with pytest.raises(UnknownNameError, match="Did you mean 'offline'"):
        TrackingSettings("wandb", "ofline")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"tracking\.mode=offline, which needs neither network nor account"):
        report("wandb", tmp_path / "online", mode="online")


def test_plain_values_survive_json() -> None:
    assert plain({"a": (1, float("nan")), "b": Path("x"), 3: {"c": True}}) == {
        "a": [1, None],
        "b": "x",
        "3": {"c": True},
    }


def test_a_run_directory_is_opened_only_where_there_is_one(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", {"a": 1}, seed=5)
    assert RunDir.open(run.path).config() == {"a": 1}
    with pytest.raises(ConfigError, match="no run directory"):
        RunDir.open(tmp_path)
