"""Faults while a policy trains: one message each, and a run that goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agents.checkpoint import checkpoint_state
from agents.failure import TrainingError
from agents.train import train
from andes_engine.policy.bundle import Bundle, load_bundle
from envs import SimVectorEnv
from tests.agents.conftest import TrainFor

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("train")


def last(run: Path) -> dict[str, Any]:
    state = checkpoint_state(run / "checkpoints" / "last")
    assert state is not None
    return state


def test_a_full_disk_leaves_the_last_checkpoint(
    train_config: TrainFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = Bundle.save, iter(range(100))

    def full(self: Bundle, folder: Path) -> Path:
        if next(calls) >= 3:  # best and last at 0 decisions, then one more
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "save", full)
        with pytest.raises(TrainingError, match=r"No space left.*is the disk full\?; kept up to decision \d+, go on"):
            train(train_config("train.eval_every=64"))
    run = tmp_path / "run"
    assert not list((run / "checkpoints").glob(".*")) and load_bundle(run / "checkpoints/last/bundle")
    more = train(train_config(f"train.resume={run}", "train.steps=320", "train.eval_every=64", name="more"))
    assert more.steps == 320 > last(run)["steps"]


@pytest.mark.slow
def test_a_real_write_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    """The kernel refuses files above 4 KiB once the first checkpoint is there: torch and zipfile tell it in their own ways."""
    code = """
        import resource, sys
        from pathlib import Path
        from agents.cli import refuse
        from agents.failure import TrainingError
        from agents.train import Training, train
        from tests.agents.conftest import debug_config
        judge = Training.judge
        def judge_then_fill(self, steps):
            told = judge(self, steps)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            return told
        Training.judge = judge_then_fill
        try:
            train(debug_config(Path(sys.argv[1])))
        except TrainingError as error:
            refuse(str(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "is the disk full?; kept up to decision 0, go on with" in done.stderr
    assert load_bundle(tmp_path / "run/checkpoints/last/bundle")


def test_a_crash_in_the_simulator_keeps_what_was_learned(
    train_config: TrainFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = SimVectorEnv.step, iter(range(10**6))

    def crash(self: SimVectorEnv, actions: Any) -> Any:
        if next(calls) == 80:
            raise RuntimeError("a worker died")
        return step(self, actions)

    with monkeypatch.context() as patch:
        patch.setattr(SimVectorEnv, "step", crash)
        with pytest.raises(
            TrainingError, match=r"RuntimeError: a worker died \(traceback in .*kept up to decision 160"
        ):
            train(train_config("train.eval_every=10_000"))
    assert "in crash" in (tmp_path / "run" / "error.txt").read_text()
    assert train(train_config(f"train.resume={tmp_path / 'run'}", name="more")).steps >= 256


def test_before_the_first_checkpoint_there_is_nothing_to_go_on_from(
    train_config: TrainFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Bundle, folder: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Bundle, "save", full)
    with pytest.raises(TrainingError, match=r"nothing was kept yet, remove .* and start again"):
        train(train_config())


def test_a_run_killed_outright_goes_on_from_its_last_judgement(train_config: TrainFor, tmp_path: Path) -> None:
    """SIGKILL leaves no time to save; half a checkpoint and the old one beside it, as a kill between renames leaves them."""
    code = """
        import os, signal, sys
        from pathlib import Path
        from agents import checkpoint
        from agents.train import Training, train
        from tests.agents.conftest import debug_config
        save = Training._save
        def save_then_die(self, which):
            save(self, which)
            if which == "last" and self.model.num_timesteps >= 128:
                os.kill(os.getpid(), signal.SIGKILL)
        Training._save = save_then_die
        train(debug_config(Path(sys.argv[1]), "train.steps=4096", "train.eval_every=64"))
    """
    run = tmp_path / "killed"
    command = [sys.executable, "-c", textwrap.dedent(code), str(run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL and last(run)["steps"] == 128
    checkpoints = run / "checkpoints"
    (checkpoints / ".last.part").mkdir()
    (checkpoints / "last").rename(checkpoints / ".last.old")
    more = train(train_config(f"train.resume={run}", "train.steps=192", "train.eval_every=64", name="more"))
    assert more.steps == 192
