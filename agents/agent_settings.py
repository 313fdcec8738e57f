"""Settings of the learning algorithms, named as stable-baselines3, sb3-contrib and cmaes name their parameters."""

from __future__ import annotations

from dataclasses import dataclass

from agents.schema import ConfigError
from andes_engine.errors import check_known
from andes_engine.observation import FEATURES


@dataclass(frozen=True, slots=True)
class PpoSettings:
    """Proximal policy optimisation, as `stable_baselines3.PPO` names its parameters.

    Args:
        hidden: Units of the hidden layers of policy and value function, tanh.
        log_std: Logarithm of the first standard deviation of the actions.
    """

    hidden: tuple[int, ...] = (32, 32)
    log_std: float = -1.0
    learning_rate: float = 3e-4
    n_steps: int = 128
    batch_size: int = 256
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = 0.03

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)
        if self.n_steps < 2 or self.batch_size < 2:
            raise ConfigError(f"agent needs n_steps >= 2 and batch_size >= 2; got {self}")


@dataclass(frozen=True, slots=True)
class RecurrentPpoSettings(PpoSettings):
    """PPO with an LSTM before policy and value function, as `sb3_contrib.RecurrentPPO` names its parameters.

    Args:
        lstm: Units of the policy's LSTM, and of the value function's.
        hidden: Units of the hidden layers behind it, tanh.
        log_std: Logarithm of the first standard deviation of the actions.
    """

    hidden: tuple[int, ...] = (32,)
    lstm: int = 32

    def __post_init__(self) -> None:
        PpoSettings.__post_init__(self)  # by name: a class with slots is made twice, and super() would know the first
        if self.lstm < 1:
            raise ConfigError(f"agent needs lstm >= 1; got {self}")


@dataclass(frozen=True, slots=True)
class SacSettings:
    """Soft actor-critic, as `stable_baselines3.SAC` names its parameters.

    Args:
        hidden: Units of the hidden layers, tanh in the policy and in the critics.
        log_std: Logarithm of the first standard deviation of the actions, before tanh.
        learning_starts: Decisions collected before the first update; by the first policy, not at random over all knobs.
        gradient_steps: Updates after each decision of all environments.
        ent_coef: Weight of the entropy: a number, `auto`, or `auto_0.01` to start there.
    """

    hidden: tuple[int, ...] = (64, 64)
    log_std: float = -1.0
    learning_rate: float = 3e-4
    buffer_size: int = 200_000
    learning_starts: int = 1_000
    batch_size: int = 256
    gradient_steps: int = 1
    tau: float = 0.005
    gamma: float = 0.99
    ent_coef: str | float = "auto_0.01"

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)
        if self.batch_size < 2 or self.learning_starts < 1 or self.gradient_steps < 1:
            raise ConfigError(f"agent needs batch_size >= 2, learning_starts >= 1 and gradient_steps >= 1; got {self}")
        if self.buffer_size < self.batch_size:
            raise ConfigError(f"agent.buffer_size = {self.buffer_size} must hold a batch of {self.batch_size}")


@dataclass(frozen=True, slots=True)
class TqcSettings(SacSettings):
    """Truncated quantile critics, as `sb3_contrib.TQC` names its parameters; otherwise as SAC.

    Args:
        n_critics: Critics.
        n_quantiles: Quantiles of each.
        top_quantiles_to_drop_per_net: Highest quantiles left out, against overestimation.
    """

    n_critics: int = 2
    n_quantiles: int = 25
    top_quantiles_to_drop_per_net: int = 2

    def __post_init__(self) -> None:
        SacSettings.__post_init__(self)
        if not 0 <= self.top_quantiles_to_drop_per_net < self.n_quantiles or self.n_critics < 1:
            raise ConfigError(
                f"agent needs n_critics >= 1 and n_quantiles > top_quantiles_to_drop_per_net >= 0; got {self}"
            )


@dataclass(frozen=True, slots=True)
class ArsSettings:
    """Augmented random search, as `sb3_contrib.ARS` names its parameters; directions are judged on whole episodes.

    Args:
        hidden: Units of the hidden layers, tanh; none for a linear policy.
        n_delta: Directions tried in each update, each both ways.
        n_top: Best directions that count; all by default.
        n_eval_episodes: Episodes that judge a candidate, the same for all of an update.
    """

    hidden: tuple[int, ...] = ()
    n_delta: int = 16
    n_top: int | None = 8
    learning_rate: float = 0.02
    delta_std: float = 0.05
    n_eval_episodes: int = 1

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)
        top = self.n_delta if self.n_top is None else self.n_top
        if not 1 <= top <= self.n_delta or self.n_eval_episodes < 1 or not self.delta_std > 0.0:
            raise ConfigError(f"agent needs 1 <= n_top <= n_delta, n_eval_episodes >= 1 and delta_std > 0; got {self}")


@dataclass(frozen=True, slots=True)
class CmaEsSettings:
    """CMA-ES over the weights of a small policy on whole episodes, by the package `cmaes`.

    Args:
        hidden: Units of the hidden layers, tanh; none for a linear policy.
        sigma: First standard deviation of the weights.
        population: Candidates of a generation; by default as many as environments, at least what CMA-ES recommends.
        diagonal: Whether covariances between weights are left out (sep-CMA-ES): linear in their number instead of quadratic.
        n_eval_episodes: Episodes that judge a candidate, the same for all of a generation.
        inputs: Features of the observation that the policy looks at, by name; null for all, [] for a constant action. Fewer
            weights are found sooner; the others stay where they start.
        knobs: Knobs of the action whose weights are searched; null for all. The others stay where they start.
        start: Linear policy that the search starts from, a bundle's folder or `zoo/NAME`, with the weights of the knobs that both
            move; null for weights of 0, the reference scheduler.
    """

    hidden: tuple[int, ...] = ()
    sigma: float = 0.05
    population: int | None = None
    diagonal: bool = True
    n_eval_episodes: int = 1
    inputs: tuple[str, ...] | None = None
    knobs: tuple[str, ...] | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        _check_hidden(self.hidden)
        if self.hidden and (self.knobs is not None or self.start is not None):
            raise ConfigError(
                f"agent.knobs and agent.start are for linear policies; agent.hidden = {list(self.hidden)}, not []"
            )
        if not self.sigma > 0.0 or self.n_eval_episodes < 1 or (self.population is not None and self.population < 2):
            raise ConfigError(f"agent needs sigma > 0, population >= 2 and n_eval_episodes >= 1; got {self}")
        check_known("input of a policy", self.inputs or (), [feature.name for feature in FEATURES])


def _check_hidden(hidden: tuple[int, ...]) -> None:
    if any(units < 1 for units in hidden):
        raise ConfigError(f"agent.hidden = {list(hidden)} must be layers of at least 1 unit; [] for none")
