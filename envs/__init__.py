"""Gymnasium environments: tune a QoE scheduler's knobs on a simulated or a live vLLM engine.

Importing this package registers `andes/SimScheduler-v0` (with a batched form for `gymnasium.make_vec`) and
`andes/LiveScheduler-v0`; installed, they are registered as soon as gymnasium is imported.
"""

from __future__ import annotations

import gymnasium

from envs.config import EnvConfig, RewardConfig
from envs.scheduler_env import SchedulerEnv
from envs.variation import EngineVariation
from envs.vector_env import SimVectorEnv

__all__ = ["EngineVariation", "EnvConfig", "RewardConfig", "SchedulerEnv", "SimVectorEnv", "register_envs"]

SIM_ID = "andes/SimScheduler-v0"
LIVE_ID = "andes/LiveScheduler-v0"


def register_envs() -> None:
    """Register the environments with Gymnasium; a second call does nothing."""
    if SIM_ID in gymnasium.registry:
        return
    gymnasium.register(SIM_ID, entry_point="envs:make_sim", vector_entry_point="envs:SimVectorEnv")
    gymnasium.register(LIVE_ID, entry_point="envs:make_live", nondeterministic=True)  # real time passes


def make_sim(config: EnvConfig | None = None, render_mode: str | None = None) -> SchedulerEnv:
    """The environment over the simulator."""
    from envs.sim_engine import SimEngine

    return SchedulerEnv(SimEngine, config or EnvConfig(), render_mode)


def make_live(config: EnvConfig | None = None, render_mode: str | None = None) -> SchedulerEnv:
    """The environment over a live vLLM engine in this process; boots it at the first reset.

    Raises:
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    from envs.live_engine import LiveEnvEngine, live_config

    return SchedulerEnv(LiveEnvEngine, config or live_config(), render_mode)


register_envs()
