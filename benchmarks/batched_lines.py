"""Environment decisions per second of 64 engines in one batched environment, and where the time of a step goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

import envs
from agents.build import env_config
from agents.cli import compose
from agents.config import TrainConfig
from agents.schema import from_mapping
from andes_engine import counters as ct
from andes_engine.sim.crew import Crew
from benchmarks.lines import Goal, Line, Sample, Stopwatch, pinned, timed_methods
from envs.vector_env import SimVectorEnv

BATCHED = "Batched environment"
ENGINES = 64
STEPS = 40

PARTS = {
    "engines": (Crew, "run"),
    "episode starts and ends": (SimVectorEnv, "_restart"),
}
"""Shares of a step's time by what is called; what is left is action mapping, rewards and other Python."""

EVERY_ITERATION_S = 0.02
"""About one iteration of the demo's engines."""

LIGHT_LOAD = "env.load=[0.2,0.4]"
"""Few live requests."""
MANY = 4
"""Times as many engines there, too: what Python does of a step hardly grows with them."""


def batched_lines(scale: float = 1.0, engines: int = ENGINES) -> list[Line]:
    """The environment of the demo with random actions: on two cores and on one, a decision at every iteration, a light load.

    A decision of the demo takes some 80 iterations, so the goal is out of reach there: it would be 16 million iterations/s. It
    can be reached, and missed, where a decision takes few short ones.
    """
    steps = max(2, int(STEPS * scale))
    available = sorted(os.sched_getaffinity(0))
    goal = Goal(200e3, at_least=True)
    lines, overrides = [], [f"env.decision_interval_s={EVERY_ITERATION_S}"]
    for count in sorted({min(2, len(available)), 1}, reverse=True):
        cores = available[-count:]
        title = _title(engines, count)
        measure = batched_speed(engines, steps, cores)
        lines.append(Line(BATCHED, title, "decisions/s", measure, goal if count == 2 else None))
        title += f", a decision every {EVERY_ITERATION_S:g} s"
        measure = batched_speed(engines, 50 * steps, cores, overrides)
        lines.append(Line(BATCHED, title, "decisions/s", measure))
    cores = available[-2:]
    for many in (engines, MANY * engines):
        title = f"{_title(many, len(cores))}, light load, a decision every {EVERY_ITERATION_S:g} s"
        measure = batched_speed(many, 50 * steps, cores, [LIGHT_LOAD, *overrides])
        lines.append(Line(BATCHED, title, "decisions/s", measure, goal if many == engines else None))
    return lines


def _title(engines: int, cores: int) -> str:
    return f"{engines} engines of the demo, random actions, {cores} core{'s' if cores > 1 else ''}"


def batched_speed(engines: int, steps: int, cores: list[int], overrides: Sequence[str] = ()) -> Callable[[], Sample]:
    """Measure the steps of one batched environment; episodes start anew as they end."""
    with pinned(cores):
        env, actions = demo_env(engines, overrides)

    def measure() -> Sample:
        base = cast(SimVectorEnv, env.unwrapped)
        before, ended = base._simulator.engines.counters[:, ct.STEPS].copy(), 0
        with pinned(cores), timed_methods(PARTS) as spent_s, Stopwatch() as watch:
            for step in range(steps):
                _, _, terminated, truncated, _ = env.step(actions[step % len(actions)])
                ended += int((terminated | truncated).sum())
        made = engines * steps
        after = base._simulator.engines.counters[:, ct.STEPS]
        iterations = float((after - before)[after >= before].sum()) / made
        facts = {f"{name}, %": 100.0 * sum(seconds) / watch.wall_s for name, seconds in spent_s.items()}
        facts |= {
            "engine iterations per decision": iterations,
            "episodes ended": float(ended),
            "core share": watch.core_share,
        }
        return Sample(made / watch.wall_s, facts)

    return measure


def demo_config(overrides: Sequence[str]) -> TrainConfig:
    """How the demo trains, with some settings changed."""
    return from_mapping(TrainConfig, compose("train", "experiment=demo", *overrides))


def demo_env(engines: int, overrides: Sequence[str] = ()) -> tuple[VectorEnv[Any, Any, Any], np.ndarray]:
    """`gymnasium.make_vec` of the demo's environment, a few decisions in, and random actions for it."""
    config = env_config(demo_config(overrides))
    env = gymnasium.make_vec(envs.SIM_ID, num_envs=engines, config=config)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (32, engines, config.action.size)).astype(np.float32)
    for _ in range(int(5.0 / config.decision_interval_s)):
        env.step(actions[0])
    return env, actions
