"""Learning algorithms by name. Another one is a dataclass of its settings and a function that builds its model.

Whatever the algorithm, the policy's last layer starts at zero: the first policy is exactly the reference scheduler. CMA-ES can
start from a bundle instead.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.agent_settings import (
    ArsSettings,
    CmaEsSettings,
    PpoSettings,
    RecurrentPpoSettings,
    SacSettings,
    TqcSettings,
)
from agents.schema import from_mapping
from andes_engine.errors import UnknownNameError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv


class Algorithm(NamedTuple):
    """How to build one algorithm.

    Args:
        settings: Dataclass of its settings.
        builder: `module:function` that takes environment, settings and seed; named, because its libraries take seconds to load.
    """

    settings: type[Any]
    builder: str


def build_model(agent: Mapping[str, Any], env: VecEnv, seed: int) -> BaseAlgorithm:
    """A model of the configured algorithm whose deterministic action is zero everywhere.

    Args:
        agent: `algorithm`, and its settings.
        env: What to train on.
        seed: Of weights, exploration and episodes.
    """
    algorithm, settings = agent_settings(agent)
    model: BaseAlgorithm = pkgutil.resolve_name(algorithm.builder)(env, settings, seed)
    return model


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


ALGORITHMS: dict[str, Algorithm] = {
    "ppo": Algorithm(PpoSettings, "agents.on_policy:ppo"),
    "recurrent_ppo": Algorithm(RecurrentPpoSettings, "agents.on_policy:recurrent_ppo"),
    "sac": Algorithm(SacSettings, "agents.off_policy:sac"),
    "tqc": Algorithm(TqcSettings, "agents.off_policy:tqc"),
    "ars": Algorithm(ArsSettings, "agents.population:ars"),
    "cma_es": Algorithm(CmaEsSettings, "agents.population:cma_es"),
}
"""Algorithms by the name that configurations use."""
