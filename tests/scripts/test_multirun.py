"""Seeds x algorithms through Hydra's sweeps, on the back ends that need no cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.cli import compose

ROOT = Path(__file__).parents[2]
TINY = ("experiment=debug", "tracking=none", "train.progress=false", "train.steps=64", "workload.duration_s=4")


def sweep(*overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.train", "-m", *TINY, *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == code, f"{command} returned {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def runs(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/results.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "launcher"),
    [
        ("joblib_launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")),
        ("submitit_launcher", ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=8")),
    ],
)
def test_seeds_and_algorithms_each_get_a_directory(package: str, launcher: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{package}", reason="pip install 'andes-rl[multirun]'")
    sweep("seed=1,2", "agent=ppo_small,ars", *launcher, f"run_dir={tmp_path}/sweep")
    assert runs(tmp_path / "sweep") == ["0_ppo_seed1", "1_ars_seed1", "2_ppo_seed2", "3_ars_seed2"]
    made = json.loads((tmp_path / "sweep/2_ppo_seed2/versions.json").read_text())
    assert made["seed"] == 2


@pytest.mark.slow
def test_a_job_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    done = sweep(
        "agent.learning_rate=1e30,1e-3",
        "agent.max_grad_norm=1e30",
        "agent.target_kl=null",
        f"run_dir={tmp_path}/s",
        code=2,
    )
    assert runs(tmp_path / "s") == ["1_ppo_seed0"]
    assert done.stderr.splitlines()[-1].startswith("error: job 0 (") and "training diverged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cluster_is_a_choice_of_the_command_line() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'andes-rl[multirun]'")
    assert compose("train", "hydra/launcher=submitit_slurm")["seed"] == 0
