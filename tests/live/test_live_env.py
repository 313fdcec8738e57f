"""The environment over a live engine: the same class, the same checks, the same exact reward."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from andes_engine.errors import AndesError
from envs import RewardConfig, SchedulerEnv
from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM


@pytest.fixture(scope="module")
def live_env() -> Iterator[SchedulerEnv]:
    env = gymnasium.make(envs.LIVE_ID, render_mode="rgb_array").unwrapped
    assert isinstance(env, SchedulerEnv)
    yield env
    env.close()


def test_passes_both_checkers_without_a_warning(live_env: SchedulerEnv) -> None:
    from stable_baselines3.common.env_checker import check_env as check_sb3

    live_env.reset(seed=0)  # boots vLLM, which warns about itself
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(live_env, skip_render_check=True, skip_close_check=True)
        check_sb3(live_env, skip_render_check=True)


def test_reward_sums_to_the_reported_qoe(live_env: SchedulerEnv) -> None:
    live_env.reset(seed=3)
    total, ended, info = 0.0, False, {}
    while not ended:
        _, reward, terminated, truncated, info = live_env.step(np.zeros(live_env.action_space.shape, np.float32))
        total += reward
        ended = terminated or truncated
    record = info["record"]
    assert terminated
    assert (record.emitted_tokens == record.workload.output_tokens).all()
    assert total == pytest.approx(record.qoe.mean() - 1.0, abs=1e-9)


def test_paired_reward_is_refused() -> None:
    with pytest.raises(AndesError, match="set it to 0"):
        envs.make_live(envs.EnvConfig(reward=RewardConfig(reference=1.0)))


def test_a_varied_engine_is_refused() -> None:
    with pytest.raises(AndesError, match="a live engine is as it is"):
        envs.make_live(envs.EnvConfig(variation=envs.EngineVariation(slowdown=(1.0, 2.0))))
