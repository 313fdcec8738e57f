"""Environment decisions per second while a policy learns: simulation, the policy's own actions, and the gradient steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from agents.algorithms import build_model
from agents.build import env_config
from agents.sb3_vec import make_vec_env
from benchmarks.batched_lines import ENGINES, LIGHT_LOAD, MANY, demo_config
from benchmarks.lines import Goal, Line, Sample, Stopwatch, pinned, timed_methods
from envs.vector_env import SimVectorEnv

TRAINING = "Training"
ROLLOUTS = 2

LIGHT = (
    *(LIGHT_LOAD, "env.decision_interval_s=0.1"),
    *("agent.batch_size=8192", "agent.n_epochs=4"),
)
"""A decision every few iterations; few passes in large minibatches."""


def training_lines(scale: float = 1.0, engines: int = ENGINES) -> list[Line]:
    """PPO on the demo's engines and traffic, and where little is simulated between two decisions; on two cores."""
    cores = sorted(os.sched_getaffinity(0))[-2:]
    cases = (
        (engines, "", ()),
        (MANY * engines, ", light load, a decision every 0.1 s, 4 passes in minibatches of 8,192", LIGHT),
    )
    return [
        Line(
            TRAINING,
            f"PPO on {count} engines of the demo, {len(cores)} cores{how}",
            "decisions/s",
            learning_speed(count, scale, cores, overrides),
            Goal(30e3, at_least=True),
        )
        for count, how, overrides in cases
    ]


def learning_speed(engines: int, scale: float, cores: list[int], overrides: Sequence[str]) -> Callable[[], Sample]:
    """Measure whole rollouts with the updates that follow them."""
    with pinned(cores):
        model = demo_model(engines, overrides)
        decisions = max(1, int(ROLLOUTS * scale)) * engines * model.n_steps
        model.learn(engines)  # one rollout: nothing is compiled or first touched later

    def measure() -> Sample:
        with pinned(cores), timed_methods({"environment": (SimVectorEnv, "step")}) as spent_s, Stopwatch() as watch:
            model.learn(decisions)
        facts = {"environment, %": 100.0 * sum(spent_s["environment"]) / watch.wall_s, "core share": watch.core_share}
        return Sample(decisions / watch.wall_s, facts)

    return measure


def demo_model(engines: int, overrides: Sequence[str]) -> Any:
    """PPO for the demo, untrained, that logs nothing."""
    from stable_baselines3.common.logger import Logger

    config = demo_config((f"env.num_envs={engines}", "agent=ppo_long", *overrides))
    model = build_model(config.agent, make_vec_env(config, env_config(config)), config.seed)
    model.set_logger(Logger(None, []))
    return model
