"""A natively batched Gymnasium environment as a stable-baselines3 VecEnv, without a Python loop over environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from agents.algorithms import agent_settings
from agents.config import TrainConfig
from andes_engine.errors import AndesError
from envs.config import EnvConfig
from envs.vector_env import SimVectorEnv


class Sb3VecEnv(VecEnv):
    """Adapter. SB3 wants the last observation and the cause of an ending in the infos of the step that ended the episode.

    Args:
        env: Environment with same-step autoreset.
    """

    def __init__(self, env: VectorEnv) -> None:
        if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise AndesError(
                "stable-baselines3 needs an environment with same-step autoreset (AutoresetMode.SAME_STEP)"
            )
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Start an episode in every environment; `seed` before it restarts their sequence."""
        observations, _ = self.env.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        return observations

    def reset_alike(self, seed: int) -> np.ndarray:
        """Start the same sequence of episodes in every environment."""
        seeds: Any = [
            seed
        ] * self.num_envs  # gymnasium's batched environments take a list, its base class says otherwise
        observations, _ = self.env.reset(seed=seeds)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all environments; infos are empty but where an episode ended."""
        observations, rewards, terminated, truncated, batched = self.env.step(self._actions)
        ended = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(ended):
            infos[index] = {
                **_entry(batched.get("final_info", {}), int(index)),
                "terminal_observation": batched["final_obs"][index],
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
            }
        return observations, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's attribute, once for each index."""
        return [getattr(self.env, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the environments share one object."""
        raise AndesError(f"cannot set '{attr_name}' of single environments: they are one batch; make a new one")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refused: the environments share one object."""
        raise AndesError(f"cannot call '{method_name}' of single environments: they are one batch")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never wrapped one by one."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Nothing: render a single environment instead."""
        return [None] * self.num_envs


def make_vec_env(config: TrainConfig, env: EnvConfig) -> VecEnv:
    """The batched environment as stable-baselines3 wants it, rewards scaled if configured.

    Observations are not normalised: a bundle gets them as the engine computes them.
    """
    torch.set_num_threads(1)  # small networks: more threads are slower, and sums would depend on their number
    vec_env: VecEnv = Sb3VecEnv(SimVectorEnv(env, config.env.num_envs))
    gamma = getattr(agent_settings(config.agent)[1], "gamma", None)
    if config.train.normalize_reward and gamma is not None:  # a search over whole episodes only ranks their returns
        vec_env = VecNormalize(vec_env, norm_obs=False, norm_reward=True, gamma=gamma)
    return vec_env


def _entry(batched: dict[str, Any], index: int) -> dict[str, Any]:
    """One environment's part of batched infos, masks left out."""
    return {
        key: _entry(values, index) if isinstance(values, dict) else np.asarray(values)[index].item()
        for key, values in batched.items()
        if not key.startswith("_")
    }
