from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from agents.sb3_vec import Sb3VecEnv
from andes_engine.errors import AndesError


class Counting(VectorEnv):
    """Environment i ends after i + 2 steps, the last one by truncation; observes its step count."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 3) -> None:
        self.num_envs = num_envs
        self.render_mode = None
        self.single_observation_space = Box(0, 100, (1,), np.float32)
        self.single_action_space = Box(-1, 1, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.count = np.zeros(num_envs)
        self.seeds: list[int | None] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.count[:] = 0
        return self._seen(), {}

    def step(self, actions: Any) -> Any:
        self.count += 1
        ended = self.count == np.arange(self.num_envs) + 2
        final = np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended):
            final[index] = self._seen()[index].copy()
        info = {"score": self.count.copy(), "terms": {"a": self.count * 2}, "_score": ended}
        self.count[ended] = 0
        last = np.arange(self.num_envs) == self.num_envs - 1
        infos = {"final_obs": final, "final_info": info} if ended.any() else {}
        return self._seen(), np.ones(self.num_envs), ended & ~last, ended & last, infos

    def _seen(self) -> np.ndarray:
        return self.count[:, None].astype(np.float32)


def test_steps_look_as_stable_baselines_wants_them() -> None:
    env = Sb3VecEnv(Counting())
    assert (env.num_envs, env.observation_space.shape, env.action_space.shape) == (3, (1,), (2,))
    assert env.reset().tolist() == [[0], [0], [0]]
    env.step(np.zeros((3, 2)))
    observations, rewards, dones, infos = env.step(np.zeros((3, 2)))
    assert observations.tolist() == [[0], [2], [2]] and dones.tolist() == [True, False, False]
    assert rewards.dtype == np.float32 and dones.dtype == np.bool_
    assert infos[1:] == [{}, {}] and infos[1] is not infos[2]
    assert infos[0]["terminal_observation"].tolist() == [2] and infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["score"] == 2 and infos[0]["terms"] == {"a": 4}


def test_a_time_limit_is_told_from_an_end() -> None:
    env = Sb3VecEnv(Counting())
    env.reset()
    infos = [env.step(np.zeros((3, 2)))[3] for _ in range(4)][-1]
    assert infos[2]["TimeLimit.truncated"] is True


def test_a_seed_is_used_once() -> None:
    inner = Counting()
    env = Sb3VecEnv(inner)
    env.seed(5)
    env.reset()
    env.reset()
    assert inner.seeds == [5, None]


def test_other_autoreset_modes_are_refused() -> None:
    inner = Counting()
    inner.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    with pytest.raises(AndesError, match="same-step"):
        Sb3VecEnv(inner)


def test_single_environments_cannot_be_reached() -> None:
    env = Sb3VecEnv(Counting())
    assert env.get_attr("num_envs") == [3, 3, 3] and env.get_images() == [None] * 3
    with pytest.raises(AndesError, match="one batch"):
        env.set_attr("x", 1)
    with pytest.raises(AndesError, match="one batch"):
        env.env_method("x")
