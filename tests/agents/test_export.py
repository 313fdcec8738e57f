from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy

from agents.export import bundle_of, policy_folder
from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.errors import BundleError
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import load_bundle
from envs.config import EnvConfig
from envs.spaces import action_space, observation_space

ACTION = ActionSpec(("horizon_s", "kv_watermark"), {"horizon_s": 50.0})
ENV = EnvConfig(action=ACTION, decision_interval_s=2.0, scheduler="andes_perfect", lengths="hazard", keep_kv=2.0)


def policy(
    hidden: tuple[int, ...] = (32, 32), activation: type = torch.nn.Tanh, **settings: object
) -> ActorCriticPolicy:
    torch.manual_seed(1)
    net = {"pi": list(hidden), "vf": [8]}
    made = ActorCriticPolicy(
        observation_space(), action_space(ACTION), lambda _: 1e-3, net_arch=net, activation_fn=activation, **settings
    )
    with torch.no_grad():
        made.action_net.weight.mul_(60.0)  # the head starts small; this makes some actions leave [-1, 1]
    return made


@pytest.mark.parametrize("hidden", [(16,), (32, 32), (64, 32, 8)])
def test_the_bundle_acts_as_the_model_predicts(hidden: tuple[int, ...], tmp_path: Path) -> None:
    model = policy(hidden)
    folder = bundle_of(model, "p", ENV, {"seed": 1}, "card").save(tmp_path / "bundle")
    bundle = load_bundle(folder)
    seen = np.random.default_rng(0).uniform(-10, 10, (500, OBSERVATION_SIZE)).astype(np.float32)
    expected, _ = model.predict(seen, deterministic=True)
    assert np.abs(bundle.act(seen) - expected).max() < 1e-6
    assert (np.abs(expected) == 1.0).any() and (np.abs(expected) < 1.0).any()
    assert (bundle.action, bundle.decision_interval_s, bundle.provenance) == (ACTION, 2.0, {"seed": 1})
    served = Contender("p", bundle=bundle)
    assert (served.scheduler, served.lengths, served.keep_kv) == ("andes_perfect", "hazard", 2.0)


def test_other_networks_are_refused() -> None:
    for wrong in (policy(activation=torch.nn.ReLU), policy(use_sde=True, squash_output=True)):
        with pytest.raises(BundleError, match="tanh MLP"):
            bundle_of(wrong, "p", ENV)


def test_a_policy_for_other_observations_is_refused() -> None:
    env = gymnasium.make("Pendulum-v1")
    with pytest.raises(BundleError, match=f"must take {OBSERVATION_SIZE} inputs"):
        bundle_of(PPO("MlpPolicy", env, n_steps=8, batch_size=8).policy, "p", ENV)


def test_a_bundle_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = bundle_of(policy(), "p", ENV).save(tmp_path / "bundle")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["observation"]["features"] = manifest["observation"]["features"][1:]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="export it again"):
        load_bundle(folder)


def test_a_run_directory_stands_for_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    assert policy_folder(tmp_path / "run") == tmp_path / "run" / "bundle"
    assert policy_folder(tmp_path / "run" / "bundle") == tmp_path / "run" / "bundle"
