"""A comparison with a policy, tracked offline: report, pictures, and the link to the run that trained the policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.cli import compose
from agents.compare import compare
from agents.config import CompareConfig
from agents.lineage import bundle_fingerprint
from agents.schema import from_mapping
from andes_engine.action import ActionSpec
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from tests.agents import wandb_file

SMALL = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=6", "loads=[1.3]", "seeds=1", "workers=1")


def test_a_comparison_with_a_policy_shows_its_knobs_and_its_origin(tmp_path: Path) -> None:
    spec = ActionSpec(("kv_watermark", "horizon_s"))
    weight = np.random.default_rng(0).normal(0.0, 0.3, (2, OBSERVATION_SIZE)).astype(np.float32)
    made = {"run": "trained-here", "tracked_as": {"tracker": "wandb", "project": "andes-rl", "run": "abc"}}
    folder = Bundle("mine", ((weight, np.zeros(2, np.float32)),), spec, 1.0, made).save(tmp_path / "bundle")
    given = (*SMALL, "tracking=wandb", f"policy={folder}", f"run_dir={tmp_path / 'run'}")
    result = compare(from_mapping(CompareConfig, compose("compare", *given)))
    titles = [figure.title for figure in result.figures]
    assert titles[-3:] == ["Token timelines", "Memory, queue and preemptions over time", "Knobs over time"]
    assert "between mine and fcfs" in result.figures[-1].caption
    page = result.report.read_text(encoding="utf-8")
    for word in (bundle_fingerprint(folder), "trained-here", "abc"):
        assert word in page
    rows = wandb_file.history(result.run_dir)
    assert [title for row in rows for title in titles if row.get(f"{title}/_type") == "image-file"] == titles
    (used,) = [entry for entry in wandb_file.artifacts(result.run_dir) if entry.type == "policy"]
    assert (used.name, used.use_after_commit) == ("mine-bundle", True)
    assert wandb_file.updates(result.run_dir)["lineage"]["training_tracked_as"] == made["tracked_as"]
