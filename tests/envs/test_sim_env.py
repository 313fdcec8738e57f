"""The environment over the simulator: Gymnasium's and SB3's checks, exact reward, batched equals single."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from andes_engine.action import ActionSpec
from andes_engine.errors import AndesError, CapacityError
from andes_engine.knobs import KNOB_NAMES
from andes_engine.observation import FEATURES
from andes_engine.sim import state as st
from andes_engine.workload.spec import workload_spec
from envs import EngineVariation, EnvConfig, RewardConfig, SchedulerEnv, SimVectorEnv
from tests.builders import make_engine, make_workload

SPEC = workload_spec({"name": "short", "arrivals": "poisson", "lengths": "tiny", "duration_s": 10.0})
CONFIG = EnvConfig(
    engines=(make_engine(150),),
    workloads=(SPEC,),
    load=(0.8, 1.6),
    decision_interval_s=1.0,
    time_limit_s=100.0,
    reward=RewardConfig(qoe=1.0, preemption=0.0),
)


def make_env(**changes: object) -> SchedulerEnv:
    return envs.make_sim(EnvConfig(**{**{f: getattr(CONFIG, f) for f in CONFIG.__slots__}, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize("env_id", [envs.SIM_ID])
def test_passes_both_checkers_without_a_warning(env_id: str) -> None:
    from stable_baselines3.common.env_checker import check_env as check_sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id, config=CONFIG, render_mode="rgb_array").unwrapped)
        check_sb3(gymnasium.make(env_id, config=CONFIG).unwrapped)


@pytest.mark.parametrize("time_limit_s", [100.0, 9.0])
def test_reward_sums_to_the_reported_qoe(time_limit_s: float) -> None:
    env = make_env(time_limit_s=time_limit_s, load=(2.5, 2.5))
    env.reset(seed=5)
    total, info = 0.0, {}
    ended = False
    while not ended:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        ended = terminated or truncated
    record = info["record"]
    assert total == pytest.approx(record.qoe.mean() - 1.0, abs=1e-9)
    assert info["reward_terms"]["qoe"] == pytest.approx(total, abs=1e-12)
    assert info["episode_qoe"] == record.qoe.mean()
    assert info["episode_qoe_lower"] <= info["episode_qoe"] < 1.0
    assert record.finished.all() == (time_limit_s == 100.0)


def test_preemption_term_is_weighted_and_logged_apart() -> None:
    weights = RewardConfig(qoe=0.0, preemption=2.0)
    env = make_env(reward=weights, load=(1.6, 1.6))
    env.reset(seed=1)
    total, ended, info = 0.0, False, {}
    while not ended:
        _, reward, terminated, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
        total += reward
        ended = terminated or truncated
    assert info["record"].preemptions.sum() > 0
    assert total == pytest.approx(-2.0 * info["record"].preemptions.mean())


def test_reference_term_makes_the_reward_the_gain_over_andes() -> None:
    env = make_env(reward=RewardConfig(reference=1.0), load=(2.5, 2.5))
    zero = np.zeros(env.action_space.shape, np.float32)
    for action, sign in ((zero, 0.0), (zero - 1.0, -1.0)):
        env.reset(seed=1)
        total, ended, info = 0.0, False, {}
        while not ended:
            _, reward, terminated, truncated, info = env.step(action)
            total += reward
            ended = terminated or truncated
        assert np.sign(round(total, 9)) == sign
        assert total == pytest.approx(info["reward_terms"]["qoe"] + info["reward_terms"]["reference"], abs=1e-12)


def test_same_seed_same_episodes() -> None:
    def rewards(seed: int) -> list[float]:
        env = make_env(load=(2.5, 2.5))
        env.reset(seed=seed)
        first = [env.step(np.zeros(env.action_space.shape, np.float32))[1] for _ in range(12)]
        env.reset()
        return first + [env.step(np.zeros(env.action_space.shape, np.float32))[1] for _ in range(12)]

    assert rewards(3) == rewards(3) != rewards(4)


@pytest.mark.parametrize(
    ("reference", "variation"),
    [
        (0.0, EngineVariation()),
        (1.0, EngineVariation()),
        (1.0, EngineVariation((0.7, 1.8), kv_factors=(0.6, 1.0, 1.5), batched_tokens_factors=(0.5, 1.0))),
    ],
)
def test_batched_equals_single(reference: float, variation: EngineVariation) -> None:
    """The same seeds, actions and episodes: observations, rewards and outcomes agree bit for bit."""
    singles = [make_env(reward=RewardConfig(reference=reference), variation=variation) for _ in range(3)]
    vector = SimVectorEnv(singles[0].config, 3)
    seeds = [11, 12, 13]
    batch, _ = vector.reset(seed=seeds)
    assert np.array_equal(batch, np.stack([env.reset(seed=seed)[0] for env, seed in zip(singles, seeds, strict=True)]))
    rng = np.random.default_rng(0)
    finished = 0
    for _ in range(60):
        actions = rng.uniform(-1, 1, vector.action_space.shape).astype(np.float32)
        batch, rewards, terminated, truncated, infos = vector.step(actions)
        for index, env in enumerate(singles):
            observation, reward, done, cut, info = env.step(actions[index])
            assert (rewards[index], terminated[index], truncated[index]) == (reward, done, cut)
            if done or cut:
                finished += 1
                assert np.array_equal(infos["final_obs"][index], observation)
                assert infos["final_info"]["episode_qoe"][index] == info["episode_qoe"]
                observation, _ = env.reset()
            assert np.array_equal(batch[index], observation)
    assert finished >= 3


def test_make_vec_gives_the_batched_env() -> None:
    assert isinstance(gymnasium.make_vec(envs.SIM_ID, num_envs=2, config=CONFIG), SimVectorEnv)


def test_domain_randomisation_draws_every_engine() -> None:
    env = make_env(engines=(make_engine(150), make_engine(300, max_num_seqs=64)))
    seen = set()
    for seed in range(8):
        env.reset(seed=seed)
        assert env._episode is not None
        seen.add(env._episode.engine.kv_blocks)
    assert seen == {150, 300}


def test_options_fix_the_episode() -> None:
    env = make_env()
    workload = make_workload(0, 5, 1.0, mean_prompt=50, mean_output=20)
    _, info = env.reset(seed=0, options={"workload": workload})
    assert info["fingerprint"] == workload.fingerprint
    with pytest.raises(CapacityError, match="raise kv_blocks"):
        env.reset(options={"workload": workload, "engine": make_engine(2, max_batched_tokens=2048)})
    with pytest.raises(ValueError, match="'speed'"):
        env.reset(options={"speed": 2})


def test_manual_page_lists_every_feature_and_knob() -> None:
    page = SchedulerEnv.__doc__ or ""
    for feature in FEATURES:
        assert f"| {feature.name} |" in page
    for name in ActionSpec().names:
        assert f"| {name} |" in page
    for heading in ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"):
        assert f"## {heading}" in page


def played(mode: str | None, steps: int) -> SchedulerEnv:
    env = envs.make_sim(EnvConfig(**{**{f: getattr(CONFIG, f) for f in CONFIG.__slots__}, "load": (2.5, 2.5)}), mode)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(steps):
        env.step(env.action_space.sample())
    return env


def test_text_says_what_the_engine_has() -> None:
    env = played("ansi", 8)
    text = env.render()
    record = env._engine.record()
    head, _, knobs, *requests = text.splitlines()
    assert f"finished {record.finished.sum()}/{len(record.workload)}" in head
    assert f"best-case QoE {record.qoe.mean():.3f}" in head
    assert f"preemptions {env._engine.preemptions()}" in head and env._engine.preemptions() > 0
    queued = int(env._engine._simulator.engines.registers[0, st.R_WAITING])  # type: ignore[attr-defined]
    assert f"waiting {queued}  " in head
    in_force = env._engine._simulator.engines.knobs[0]  # type: ignore[attr-defined]
    assert f"horizon_s {in_force[KNOB_NAMES.index('horizon_s')]:.4g}" in knobs
    shown = [int(line.split()[1]) for line in requests]
    arrived = np.flatnonzero(record.workload.arrival_s <= env._engine.now_s)
    assert record.qoe[shown[0]] == record.qoe[arrived].min() and record.qoe[shown[-1]] == record.qoe[arrived].max()
    for line, request in zip(requests, shown, strict=True):
        assert f"delivered {record.emitted_tokens[request]} " in line


def test_picture_shows_the_episode_so_far() -> None:
    env = envs.make_sim(CONFIG, "rgb_array")
    assert env.render() is None
    env.reset(seed=0)
    first = env.render()
    frames = [played("rgb_array", steps).render() for steps in (1, 8)]
    for frame in (first, *frames):
        assert frame.shape == (440, 1040, 3) and frame.dtype == np.uint8
    assert not np.array_equal(*frames)
    assert played(None, 2).render() is None
    with pytest.raises(ValueError, match="ansi"):
        envs.make_sim(CONFIG, "human")


def test_looking_changes_nothing() -> None:
    def rewards(mode: str | None) -> list[float]:
        env = played(mode, 2)
        found = []
        for _ in range(6):
            env.render()
            found.append(env.step(np.zeros(env.action_space.shape, np.float32))[1])
        return found

    assert rewards(None) == rewards("ansi") == rewards("rgb_array")


def test_the_batched_env_says_that_it_does_not_render() -> None:
    assert SimVectorEnv.metadata["render_modes"] == []
    with pytest.raises(ValueError, match="render_mode None"):
        SimVectorEnv(CONFIG, 2, render_mode="rgb_array")


def test_configuration_errors() -> None:
    with pytest.raises(AndesError, match="low <= high"):
        EnvConfig(load=(1.2, 0.8))
    with pytest.raises(AndesError, match="at least one engine"):
        EnvConfig(engines=())
    with pytest.raises(AndesError, match="decision_interval_s"):
        EnvConfig(decision_interval_s=0.0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        make_env().step(np.zeros(1, np.float32))
