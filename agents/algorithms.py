"""Learning algorithms by name. Another one is a dataclass of its settings and a function that builds its model.

The policy is a tanh MLP whose last layer starts at zero: the first policy is exactly the reference scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.schema import ConfigError, from_mapping
from andes_engine.errors import UnknownNameError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True, slots=True)
class PpoSettings:
    """Proximal policy optimisation, as `stable_baselines3.PPO` names its parameters.

    Args:
        hidden: Units of the hidden layers of policy and value function, tanh.
        log_std: Logarithm of the first standard deviation of the actions.
    """

    hidden: tuple[int, ...] = (32, 32)
    log_std: float = -1.0
    learning_rate: float = 3e-4
    n_steps: int = 128
    batch_size: int = 256
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = 0.03

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or self.n_steps < 2 or self.batch_size < 2:
            raise ConfigError(f"agent needs hidden layers of >= 1 unit, n_steps >= 2 and batch_size >= 2; got {self}")


class Algorithm(NamedTuple):
    """How to build and load one algorithm."""

    settings: type[Any]
    build: Callable[[VecEnv, Any, int], BaseAlgorithm]


def build_model(agent: Mapping[str, Any], env: VecEnv, seed: int) -> BaseAlgorithm:
    """A model of the configured algorithm whose deterministic action is zero everywhere.

    Args:
        agent: `algorithm`, and its settings.
        env: What to train on.
        seed: Of weights, exploration and episodes.
    """
    algorithm, settings = agent_settings(agent)
    return algorithm.build(env, settings, seed)


def agent_settings(agent: Mapping[str, Any]) -> tuple[Algorithm, Any]:
    """The configured algorithm and its checked settings.

    Raises:
        UnknownNameError: If there is no such algorithm or setting.
    """
    rest = dict(agent)
    name = str(rest.pop("algorithm", "ppo"))
    if name not in ALGORITHMS:
        raise UnknownNameError("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name], from_mapping(ALGORITHMS[name].settings, rest, "agent")


def _ppo(env: VecEnv, settings: PpoSettings, seed: int) -> BaseAlgorithm:
    import torch
    from stable_baselines3 import PPO

    layers = list(settings.hidden)
    given = {name: getattr(settings, name) for name in _PPO_PARAMETERS}
    given["batch_size"] = min(settings.batch_size, settings.n_steps * env.num_envs)
    model = PPO(
        "MlpPolicy",
        env,
        seed=seed,
        device="cpu",
        policy_kwargs={
            "net_arch": {"pi": layers, "vf": layers},
            "activation_fn": torch.nn.Tanh,
            "log_std_init": settings.log_std,
        },
        **given,
    )
    with torch.no_grad():
        for parameter in model.policy.action_net.parameters():
            parameter.zero_()
    return model


_PPO_PARAMETERS = tuple(name for name in PpoSettings.__dataclass_fields__ if name not in ("hidden", "log_std"))

ALGORITHMS: dict[str, Algorithm] = {"ppo": Algorithm(PpoSettings, _ppo)}
"""Algorithms by the name that configurations use."""
