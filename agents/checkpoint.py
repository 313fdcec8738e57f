"""Checkpoints of a training run: the policy's bundle, and enough to train on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from andes_engine.action import ActionSpec
from andes_engine.policy.bundle import Bundle

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

CHECKPOINTS = ("best", "last")


def save_checkpoint(run: RunDir, which: str, model: BaseAlgorithm, bundle: Bundle, state: Mapping[str, Any]) -> Path:
    """Write `checkpoints/WHICH`; a crash while writing leaves the earlier one.

    Args:
        run: Run directory.
        which: `best` or `last`; only the last is trained on from, so only it keeps a replay buffer.
        model: The model.
        bundle: Its policy.
        state: What resuming needs besides, as JSON knows it.
    """
    from agents.kept import keep_replay

    target = run.path / "checkpoints" / which
    staging, old = target.with_name(f".{which}.part"), _old(target)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        model.save(staging / "model.zip")
        bundle.save(staging / "bundle")
        if which == "last":
            keep_replay(model, staging)
        content = {**state, "return_statistics": _return_statistics(model.get_env())}
        (staging / "state.json").write_text(json.dumps(plain(content), indent=1), encoding="utf-8")
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)  # a full disk has no room for half a checkpoint
        if isinstance(error, RuntimeError):  # how torch tells of a write that failed
            raise OSError(f"{target}: {error}") from error
        raise
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def checkpoint_folder(run: RunDir, which: str) -> Path:
    """Where a checkpoint is: in its place, or, after a kill between two renames, beside it."""
    target = run.path / "checkpoints" / which
    return _old(target) if not target.exists() and _old(target).is_dir() else target


def checkpoint_state(folder: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` was given, if a checkpoint is there."""
    path = folder / "state.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def resume(run: RunDir, model: BaseAlgorithm, action: ActionSpec, algorithm: str) -> dict[str, Any]:
    """Load the last checkpoint of another run into `model`; returns its state.

    Raises:
        ConfigError: If there is none, or its algorithm, network or actions are others.
    """
    from agents.kept import restore_model, restore_replay

    folder = checkpoint_folder(run, "last")
    state = checkpoint_state(folder)
    if state is None:
        raise ConfigError(f"{folder}: no checkpoint to resume from")
    if state["algorithm"] != algorithm:
        raise ConfigError(
            f"{folder}: cannot resume, it was trained by {state['algorithm']}, not {algorithm}; give agent={state['algorithm']}"
        )
    if tuple(state["action"]["names"]) != action.names:
        raise ConfigError(
            f"{folder}: cannot resume, its actions move {state['action']['names']}, this configuration's {list(action.names)}"
        )
    try:
        restore_model(model, folder / "model.zip")
        restore_replay(model, folder)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{folder}: cannot resume, its network differs from agent and env of this configuration: {error}"
        ) from None
    model.num_timesteps = int(state["steps"])
    _restore_return_statistics(model.get_env(), state["return_statistics"])
    return state


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _return_statistics(env: VecEnv | None) -> dict[str, float] | None:
    from stable_baselines3.common.vec_env import VecNormalize

    if not isinstance(env, VecNormalize):
        return None
    return {name: float(getattr(env.ret_rms, name)) for name in ("mean", "var", "count")}


def _restore_return_statistics(env: VecEnv | None, statistics: Mapping[str, float] | None) -> None:
    from stable_baselines3.common.vec_env import VecNormalize

    if isinstance(env, VecNormalize) and statistics:
        for name, value in statistics.items():
            setattr(env.ret_rms, name, value)
