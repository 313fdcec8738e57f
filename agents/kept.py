"""What a model has learned besides its networks: numbers it tunes, the state of a search, past decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file

_ATTRIBUTES = ("_n_updates", "search")
"""Of a model's own state, what is not a network: number of updates, CMA-ES' distribution."""
_COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_REPLAY = "replay.npz"


def restore_model(model: BaseAlgorithm, path: Path) -> None:
    """Load networks, optimisers and what else was learned from the file that `model.save` wrote.

    Raises:
        ValueError: If the model is of another shape.
    """
    data, parameters, variables = load_from_zip_file(path, device="cpu")
    model.set_parameters(parameters, device="cpu")
    for name, value in (variables or {}).items():
        getattr(model, name).data.copy_(value.data)
    for name in _ATTRIBUTES:
        if name in (data or {}):
            setattr(model, name, data[name])  # type: ignore[index]
    if hasattr(model, "restored"):
        model.restored()


def keep_replay(model: BaseAlgorithm, folder: Path) -> None:
    """Write the replay buffer, as far as it is filled; nothing for algorithms without one."""
    buffer = _replay(model)
    if buffer is not None:
        filled = buffer.buffer_size if buffer.full else buffer.pos
        columns: dict[str, Any] = {name: getattr(buffer, name)[:filled] for name in _COLUMNS}
        np.savez(folder / _REPLAY, allow_pickle=False, place=[buffer.pos, int(buffer.full)], **columns)


def restore_replay(model: BaseAlgorithm, folder: Path) -> None:
    """Read the replay buffer back.

    Raises:
        ValueError: If the buffer is smaller or for another number of environments.
    """
    buffer = _replay(model)
    if buffer is None:
        return
    with np.load(folder / _REPLAY, allow_pickle=False) as kept:
        pos, full = (int(value) for value in kept["place"])
        filled = len(kept["rewards"])
        if (
            kept["rewards"].shape[1] != buffer.n_envs
            or filled > buffer.buffer_size
            or (full and filled < buffer.buffer_size)
        ):
            raise ValueError(
                f"the replay buffer holds {filled} decisions of {kept['rewards'].shape[1]} environments, "
                f"this one {buffer.buffer_size} of {buffer.n_envs}; keep agent.buffer_size and env.num_envs"
            )
        for name in _COLUMNS:
            getattr(buffer, name)[:filled] = kept[name]
    buffer.pos, buffer.full = pos, bool(full)


def _replay(model: BaseAlgorithm) -> ReplayBuffer | None:
    return model.replay_buffer if isinstance(model, OffPolicyAlgorithm) else None
