"""Judging a policy while it trains: the same fixed workloads each time, paired with the reference scheduler."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agents.build import validation_scenarios
from agents.config import TrainConfig
from agents.evaluate import Outcome, evaluate, pairs
from agents.statistics import paired_difference
from andes_engine.contender import Contender
from andes_engine.policy.bundle import Bundle
from envs.config import EnvConfig

REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Validation:
    """One point of the learning curve.

    Args:
        steps: Decisions trained so far.
        qoe: Mean headline QoE of the policy, every load and workload weighing the same.
        gain: The same minus the reference's.
        low: Lower bound of the gain's 95 % interval; None where there are too few workloads to tell.
        high: Upper bound.
    """

    steps: int
    qoe: float
    gain: float
    low: float | None
    high: float | None


class Validator:
    """Runs policies through the validation workloads, which are never those of a result.

    Args:
        config: Names engines, traffic, loads and the reference scheduler.
        env: What training draws its episodes from, made of the same configuration.
    """

    def __init__(self, config: TrainConfig, env: EnvConfig) -> None:
        engines = (config.engine, *config.more_engines.values())
        self._scenarios = [(engine, validation_scenarios(config, env, engine)) for engine in engines]
        self._reference = config.scheduler.contender
        others = [Contender("fcfs", "fcfs"), Contender("andes", "andes")]
        self._contenders = [self._reference, *(other for other in others if other.name != self._reference.name)]
        self._outcomes = self._evaluated(self._contenders)

    @property
    def references(self) -> dict[str, float]:
        """Mean QoE of the schedulers a policy is compared with, by name."""
        return {entry.label: mean_qoe(self._outcomes, entry.label) for entry in self._contenders}

    def __call__(self, bundle: Bundle, steps: int) -> Validation:
        """Judge a policy."""
        policy = replace(self._reference, name=f"{bundle.name} (policy)", bundle=bundle)
        mine = self._evaluated([policy])
        matched = pairs([*self._outcomes, *mine], policy.label, self._reference.label)
        difference = paired_difference(matched, replicates=REPLICATES)
        bounds = (difference.low, difference.high) if difference.has_interval else (None, None)
        return Validation(steps, mean_qoe(mine, policy.label), difference.mean, *bounds)

    def _evaluated(self, contenders: list[Contender]) -> list[Outcome]:
        return [outcome for engine, scenarios in self._scenarios for outcome in evaluate(engine, scenarios, contenders)]


def mean_qoe(outcomes: list[Outcome], name: str) -> float:
    """Mean QoE of a contender, every workload weighing the same."""
    return float(np.mean([entry.record.qoe.mean() for entry in outcomes if entry.record.scheduler == name]))
