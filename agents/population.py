"""Search over the weights of a small policy, judged by the return of whole episodes: ARS and CMA-ES.

The candidates of one update run side by side in the batched environment, each on the same episodes (common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from cmaes import CMA, SepCMA
from sb3_contrib import ARS
from sb3_contrib.ars.policies import ARSPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents.agent_settings import ArsSettings, CmaEsSettings
from agents.export import policy_folder
from agents.failure import diverged
from agents.on_policy import zero
from agents.sb3_vec import Sb3VecEnv
from agents.schema import ConfigError
from andes_engine.action import ActionSpec
from andes_engine.errors import check_known
from andes_engine.knobs import KNOB_NAMES
from andes_engine.observation import FEATURES
from andes_engine.policy.bundle import load_bundle

_MOST_SEEDS = 2**30
"""Below the entropy of every fixed split of `agents.build`, so that no training episode is one of theirs."""


class StoppedError(Exception):
    """The callback wants training to end in the middle of an update, which then does not count."""


class PopulationSearch(ARS):
    """ARS whose candidates are evaluated side by side."""

    env: Sb3VecEnv

    def _setup_model(self) -> None:
        """The policy, its last layer at zero."""
        super()._setup_model()
        zero(self.policy.action_net[-1])
        self.restored()

    def evaluate_candidates(
        self, candidate_weights: torch.Tensor, callback: BaseCallback, async_eval: Any
    ) -> torch.Tensor:
        """Return of each candidate. Shape (population, weights) -> (population,).

        Raises:
            StoppedError: If the callback ends training.
        """
        callback.on_rollout_start()
        self.ep_info_buffer: Any = []
        seed = self._seed_of_update()
        batches = candidate_weights.split(self.env.num_envs)
        returns = torch.cat([self._returns(batch, seed, callback) for batch in batches])
        if not bool(torch.isfinite(returns).all()):
            raise diverged("the return of a candidate is NaN or infinite", self.num_timesteps)
        callback.on_rollout_end()
        return returns

    def _seed_of_update(self) -> int:
        """The seed of this update's episodes and candidates; a run that goes on draws what it would have drawn."""
        return int(np.random.default_rng((self.seed or 0, self._n_updates)).integers(_MOST_SEEDS))

    def _returns(self, candidates: torch.Tensor, seed: int, callback: BaseCallback) -> torch.Tensor:
        """Return of as many candidates as there are environments, or fewer."""
        env = self.env
        filled = torch.arange(env.num_envs) % len(candidates)
        layers = unstacked(candidates[filled], self.policy)
        observations: Any = env.reset_alike(seed)
        total, left = np.zeros(env.num_envs), np.full(env.num_envs, self.n_eval_episodes)
        while left.any():
            observations, rewards, dones, infos = env.step(act_all(layers, observations))
            total += np.where(left > 0, rewards, 0.0)
            left -= dones & (left > 0)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                raise StoppedError
        return torch.from_numpy(total[: len(candidates)]).float()

    def learn(self, total_timesteps: int, callback: Any = None, **given: Any) -> PopulationSearch:
        """As `ARS.learn`, but it ends when the callback says so, also within an update."""
        try:
            super().learn(total_timesteps, callback, **given)
        except StoppedError:
            if isinstance(callback, BaseCallback):
                callback.on_training_end()
        return self

    def restored(self) -> None:
        """Search on from the policy's weights, which a checkpoint has set."""
        self.weights = torch.nn.utils.parameters_to_vector(self.policy.parameters()).detach()


class CmaEs(PopulationSearch):
    """CMA-ES; the policy is the mean of its distribution.

    Args:
        settings: Of the search.
        given: Arguments of `ARS` that are common to both.
    """

    def __init__(self, env: VecEnv, settings: CmaEsSettings, **given: Any) -> None:
        super().__init__(env=env, **given)
        kind: type[CMA | SepCMA] = SepCMA if settings.diagonal else CMA
        action = self.env.env.config.action  # type: ignore[attr-defined]
        if settings.start is not None:
            start_from(self.policy, settings.start, action)
            self.restored()
        self._start, self._searched = self.weights, _searched(self.policy, settings, action.names)
        mean = self.weights.numpy().astype(np.float64)[self._searched]
        if len(mean) < 2:
            raise ConfigError("CMA-ES needs at least two weights; give agent.inputs or env.action one more name")
        recommended = 4 + math.floor(3 * math.log(len(mean)))
        self.pop_size = settings.population or env.num_envs * math.ceil(recommended / env.num_envs)
        self.search = kind(mean, settings.sigma, seed=self.seed or 0, population_size=self.pop_size)

    def _do_one_update(self, callback: BaseCallback, async_eval: Any) -> None:
        """One generation."""
        if self.search.should_stop():  # converged: more candidates would all be the same
            raise StoppedError
        self.search.reseed_rng(self._seed_of_update())  # its random state is not kept with it
        candidates = np.stack([self.search.ask() for _ in range(self.pop_size)])
        returns = self.evaluate_candidates(self._whole(candidates), callback, async_eval).numpy()
        self.search.tell([(candidate, -float(gained)) for candidate, gained in zip(candidates, returns, strict=True)])
        self.weights = self._whole(self.search.mean[None, :])[0]
        self.policy.load_from_vector(self.weights)
        self._n_updates += 1
        self.logger.record("train/generation", self.search.generation)
        self.logger.record("train/sigma", float(self.search._sigma))
        self.logger.record("train/best_return", float(returns.max()))

    def _whole(self, searched: np.ndarray) -> torch.Tensor:
        """All weights of policies of which some are searched. Shape (n, searched) -> (n, weights)."""
        whole = np.repeat(self._start.numpy()[None, :], len(searched), axis=0)
        whole[:, self._searched] = searched
        return torch.from_numpy(whole)


def ars(env: VecEnv, settings: ArsSettings, seed: int) -> PopulationSearch:
    """Random directions from a linear policy at zero, or from a small network whose last layer is."""
    names = ("n_delta", "n_top", "learning_rate", "delta_std", "n_eval_episodes")
    given = {name: getattr(settings, name) for name in names}
    return PopulationSearch(env=_batched(env), **_common(settings, seed), **given)


def cma_es(env: VecEnv, settings: CmaEsSettings, seed: int) -> CmaEs:
    """The same policies under CMA-ES."""
    return CmaEs(_batched(env), settings, **_common(settings, seed), n_eval_episodes=settings.n_eval_episodes)


def _searched(policy: ARSPolicy, settings: CmaEsSettings, moved: Sequence[str]) -> np.ndarray:
    """Which weights of a policy a search moves: all but those of inputs and knobs that are left alone. Shape (weights,)."""
    kept = [torch.ones_like(parameter, dtype=torch.bool) for parameter in policy.parameters()]
    if settings.inputs is not None:
        looked_at = torch.tensor([feature.name in settings.inputs for feature in FEATURES])
        kept[0] &= looked_at  # first layer's weights, an input in each column
    if settings.knobs is not None:
        check_known("knob of env.action", settings.knobs, moved)
        searched = torch.tensor([name in settings.knobs for name in moved])
        kept[0] &= searched[:, None]
        kept[1] &= searched
    return torch.cat([entry.flatten() for entry in kept]).numpy()


def start_from(policy: ARSPolicy, bundle: str, action: ActionSpec) -> None:
    """Give a linear policy the weights of a bundle's for the knobs that both move; those of other knobs stay.

    Raises:
        ConfigError: If the bundle's policy is not linear, or is around another reference.
        AndesError: If there is no such bundle.
    """
    found = load_bundle(policy_folder(bundle))
    if len(found.layers) != 1 or found.lstm is not None:
        raise ConfigError(
            f"agent.start = {bundle!r}: a search can start from a linear policy only, this one has layers"
        )
    apart = [name for name in KNOB_NAMES if found.action.knobs[name] != action.knobs[name]]
    if apart:
        raise ConfigError(
            f"agent.start = {bundle!r} moves knobs around another reference than this run's scheduler ({', '.join(apart)} "
            f"differ); give the scheduler it was trained with: {found.provenance.get('train_again', 'see its model card')}"
        )
    weight, bias = policy.parameters()
    with torch.no_grad():
        for row, name in enumerate(found.action.names):
            if name in action.names:
                place = action.names.index(name)
                weight[place] = torch.from_numpy(found.layers[0][0][row])
                bias[place] = float(found.layers[0][1][row])


def unstacked(candidates: torch.Tensor, policy: ARSPolicy) -> list[torch.Tensor]:
    """Weights and biases of each layer, every candidate's. Shape (n, weights) -> (n, out, in), (n, out), ..."""
    sizes = [parameter.numel() for parameter in policy.parameters()]
    parts = candidates.split(sizes, dim=1)
    return [part.view(len(candidates), *own.shape) for part, own in zip(parts, policy.parameters(), strict=True)]


def act_all(layers: list[torch.Tensor], observations: np.ndarray) -> np.ndarray:
    """Each candidate's action to its own observation. Shape (n, inputs) -> (n, k)."""
    hidden = torch.from_numpy(observations).unsqueeze(-1)
    pairs = list(zip(layers[0::2], layers[1::2], strict=True))
    for weight, bias in pairs[:-1]:
        hidden = torch.tanh(torch.baddbmm(bias.unsqueeze(-1), weight, hidden))
    weight, bias = pairs[-1]
    return torch.baddbmm(bias.unsqueeze(-1), weight, hidden).squeeze(-1).clamp(-1.0, 1.0).numpy()


def _common(settings: ArsSettings | CmaEsSettings, seed: int) -> dict[str, Any]:
    policy = {"net_arch": list(settings.hidden), "activation_fn": torch.nn.Tanh, "squash_output": False}
    return {"policy": "MlpPolicy", "policy_kwargs": policy, "seed": seed, "zero_policy": False, "device": "cpu"}


def _batched(env: VecEnv) -> Sb3VecEnv:
    if not isinstance(env, Sb3VecEnv):
        raise ConfigError(
            f"a search over whole policies needs the batched simulator with unscaled rewards, not {type(env).__name__}; "
            "set train.normalize_reward=false, or use agent=ppo"
        )
    return env
