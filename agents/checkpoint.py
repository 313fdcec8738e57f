"""Checkpoints of a training run: enough to export the policy, or to train on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from andes_engine.action import ActionSpec

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


def save_checkpoint(run: RunDir, which: str, model: BaseAlgorithm, state: Mapping[str, Any]) -> Path:
    """Write `checkpoints/WHICH`; a crash while writing leaves the earlier one.

    Args:
        run: Run directory.
        which: `best` or `last`.
        model: The model.
        state: What `agents.export` and resuming need besides the weights, as JSON knows it.
    """
    target = run.path / "checkpoints" / which
    staging, old = target.with_name(f".{which}.part"), target.with_name(f".{which}.old")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    model.save(staging / "model.zip")
    model.policy.save(str(staging / "policy.pt"))
    content = {**state, "return_statistics": _return_statistics(model.get_env())}
    (staging / "state.json").write_text(json.dumps(plain(content), indent=1), encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def resume(run: RunDir, model: BaseAlgorithm, action: ActionSpec) -> dict[str, Any]:
    """Load the last checkpoint of another run into `model`; returns its state.

    Raises:
        ConfigError: If there is none, or its network or actions are others.
    """
    folder = run.path / "checkpoints" / "last"
    if not (folder / "state.json").is_file():
        raise ConfigError(f"{folder}: no checkpoint to resume from")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if tuple(state["action"]["names"]) != action.names:
        raise ConfigError(
            f"{folder}: cannot resume, its actions move {state['action']['names']}, this configuration's {list(action.names)}"
        )
    try:
        model.set_parameters(str(folder / "model.zip"), device="cpu")
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{folder}: cannot resume, its network differs from agent and env of this configuration: {error}"
        ) from None
    model.num_timesteps = int(state["steps"])
    _restore_return_statistics(model.get_env(), state["return_statistics"])
    return state


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
