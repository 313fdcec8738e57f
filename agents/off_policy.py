"""Algorithms that learn from a buffer of past decisions: SAC and TQC.

Where they differ from stable-baselines3's: the last layer of the policy's mean starts at zero, that of its deviation at
`log_std`, and the decisions before the first update come from this policy. The library would draw them evenly over all
actions, so that the buffer began with schedulers far from any that makes sense.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from sb3_contrib import TQC
from stable_baselines3 import SAC
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.vec_env import VecEnv

from agents.agent_settings import SacSettings, TqcSettings
from agents.on_policy import zero

_OF_THE_POLICY = ("hidden", "log_std", "n_critics", "n_quantiles")


class _FromReference:
    """The first decisions are the first policy's."""

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        return super()._sample_action(0, action_noise, n_envs)  # type: ignore[misc]


class SacFromReference(_FromReference, SAC):
    """SAC that starts at the reference."""


class TqcFromReference(_FromReference, TQC):
    """TQC that starts at the reference."""


def sac(env: VecEnv, settings: SacSettings, seed: int) -> SAC:
    """A tanh MLP as policy, two as critics."""
    return _from_reference(
        SacFromReference("MlpPolicy", env, policy_kwargs=_policy(settings), **_given(env, settings, seed)), settings
    )


def tqc(env: VecEnv, settings: TqcSettings, seed: int) -> TQC:
    """A tanh MLP as policy, `n_critics` as critics."""
    policy = _policy(settings) | {"n_critics": settings.n_critics, "n_quantiles": settings.n_quantiles}
    return _from_reference(
        TqcFromReference("MlpPolicy", env, policy_kwargs=policy, **_given(env, settings, seed)), settings
    )


def _from_reference(model: Any, settings: SacSettings) -> Any:
    actor = model.policy.actor
    zero(actor.mu)
    zero(actor.log_std)
    torch.nn.init.constant_(actor.log_std.bias, settings.log_std)
    return model


def _policy(settings: SacSettings) -> dict[str, Any]:
    return {"net_arch": list(settings.hidden), "activation_fn": torch.nn.Tanh}


def _given(env: VecEnv, settings: SacSettings, seed: int) -> dict[str, Any]:
    given = {
        entry.name: getattr(settings, entry.name) for entry in fields(settings) if entry.name not in _OF_THE_POLICY
    }
    return given | {"seed": seed, "device": "cpu", "train_freq": 1}
