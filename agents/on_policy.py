"""Algorithms that learn from what the present policy does: PPO, and PPO with a memory."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from agents.agent_settings import PpoSettings, RecurrentPpoSettings

_OF_THE_POLICY = ("hidden", "log_std", "lstm")


def ppo(env: VecEnv, settings: PpoSettings, seed: int) -> PPO:
    """A tanh MLP policy and value function without common layers."""
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", policy_kwargs=_policy(settings), **_given(env, settings))
    zero(model.policy.action_net)
    return model


def recurrent_ppo(env: VecEnv, settings: RecurrentPpoSettings, seed: int) -> RecurrentPPO:
    """The same behind an LSTM for the policy and one for the value function."""
    policy = _policy(settings) | {"lstm_hidden_size": settings.lstm}
    model = RecurrentPPO("MlpLstmPolicy", env, seed=seed, device="cpu", policy_kwargs=policy, **_given(env, settings))
    zero(model.policy.action_net)
    return model


def zero(layer: torch.nn.Module) -> None:
    """Set a layer's weights and biases to zero."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()


def _policy(settings: PpoSettings) -> dict[str, Any]:
    layers = list(settings.hidden)
    return {
        "net_arch": {"pi": layers, "vf": layers},
        "activation_fn": torch.nn.Tanh,
        "log_std_init": settings.log_std,
    }


def _given(env: VecEnv, settings: PpoSettings) -> dict[str, Any]:
    given = {
        entry.name: getattr(settings, entry.name) for entry in fields(settings) if entry.name not in _OF_THE_POLICY
    }
    return given | {"batch_size": min(settings.batch_size, settings.n_steps * env.num_envs)}
