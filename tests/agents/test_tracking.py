from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.config import TrackingSettings
from agents.lineage import bundle_fingerprint, lineage_of, log_trained, mark_used
from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from agents.tracking import tracking
from andes_engine.action import ActionSpec
from andes_engine.errors import BundleError, UnknownNameError
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from andes_engine.report.figures import learning_curve, png_bytes
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


def bundle() -> Bundle:
    spec = ActionSpec(("kv_watermark",))
    layers = ((np.ones((1, OBSERVATION_SIZE), np.float32), np.zeros(1, np.float32)),)
    return Bundle("mine", layers, spec, 2.0)


def train_and_evaluate(folder: Path, kind: str) -> tuple[Path, dict[str, str], dict[str, object]]:
    """A run that trains a bundle and one that uses it: the bundle, what the first run is called, and what the second was told."""
    with tracking(TrackingSettings(kind), folder / "train", {}, "train") as tracker:
        made = {"run": "train", "tracked_as": dict(tracker.identity), "seed": 3}
        saved = replace(bundle(), provenance=made).save(folder / "train" / "bundle")
        log_trained(tracker, saved, "mine", made)
    with tracking(TrackingSettings(kind), folder / "evaluate", {}, "evaluate") as tracker:
        mark_used(tracker, str(folder / "train"))
    return saved, made["tracked_as"], lineage_of(str(saved))  # type: ignore[return-value]


def test_wandb_keeps_figures_and_tables_whole(tmp_path: Path) -> None:
    with tracking(TrackingSettings("wandb"), tmp_path, {}, "name") as tracker:
        drawn = learning_curve([0, 1000], [0.5, 0.6])
        tracker.figure("a figure", drawn)
        tracker.table("a table", GRID)
    rows = wandb_file.history(tmp_path)
    (image,) = [row for row in rows if row.get("a figure/_type") == "image-file"]
    picture = Image.open(io.BytesIO(wandb_file.media(tmp_path, image["a figure/path"])))
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(io.BytesIO(png_bytes(drawn)))))
    (table,) = [row for row in rows if "a table/path" in row]
    kept = json.loads(wandb_file.media(tmp_path, table["a table/path"]))
    assert (kept["columns"], kept["data"]) == (["scheduler", "QoE"], [["andes", "0.9"]])


def test_wandb_links_evaluation_to_training_offline(tmp_path: Path) -> None:
    saved, trained_as, lineage = train_and_evaluate(tmp_path, "wandb")
    made = wandb_file.artifacts(tmp_path / "train")[-1]
    used = wandb_file.artifacts(tmp_path / "evaluate")[-1]
    assert (made.name, used.name) == ("mine-bundle", "mine-bundle")
    assert (made.use_after_commit, used.use_after_commit) == (False, True)
    assert made.digest == used.digest, "Weights & Biases would not see that it is the same bundle"
    assert json.loads(made.metadata)["seed"] == 3
    files = {entry.path: Path(entry.local_path).read_bytes() for entry in used.manifest.contents}
    assert files == {path.name: path.read_bytes() for path in saved.iterdir()}
    assert trained_as["run"] == made.run_id != used.run_id
    assert lineage == {
        "bundle": "mine",
        "bundle_fingerprint": bundle_fingerprint(saved),
        "training_run": "train",
        "training_tracked_as": trained_as,
    }
    assert wandb_file.updates(tmp_path / "evaluate")["lineage"] == lineage
    assert json.loads(made.metadata)["bundle_fingerprint"] == lineage["bundle_fingerprint"]


def test_tensorboard_keeps_figures_and_lineage(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, trained_as, lineage = train_and_evaluate(tmp_path, "tensorboard")
    assert trained_as == {"tracker": "tensorboard", "run": "train"}
    events = EventAccumulator(str(tmp_path / "evaluate" / "tensorboard")).Reload()
    (told,) = events.Tensors("lineage/text_summary")
    assert str(lineage["bundle_fingerprint"]) in told.tensor_proto.string_val[0].decode()
    with tracking(TrackingSettings("tensorboard"), tmp_path / "figures", {}, "name") as tracker:
        drawn = learning_curve([0, 1000], [0.5, 0.6])
        tracker.figure("a figure", drawn)
    (shown,) = EventAccumulator(str(tmp_path / "figures" / "tensorboard")).Reload().Images("a figure")
    assert (shown.width, shown.height) == Image.open(io.BytesIO(png_bytes(drawn))).size


def test_fingerprint_tells_bundles_apart_and_not_where_they_lie(tmp_path: Path) -> None:
    one, two = (bundle().save(tmp_path / name) for name in ("one", "two"))
    assert bundle_fingerprint(one) == bundle_fingerprint(two)
    other = replace(bundle(), decision_interval_s=3.0).save(tmp_path / "three")
    assert bundle_fingerprint(one) != bundle_fingerprint(other)
    with (
        tracking(TrackingSettings("none"), tmp_path, {}, "name") as tracker,
        pytest.raises(BundleError, match="no policy"),
    ):
        mark_used(tracker, str(tmp_path / "nowhere"))


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
