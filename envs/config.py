"""What an environment is made of: engines, traffic, action, reward, time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from andes_engine.action import ActionSpec
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.step_time import preset
from andes_engine.workload.saturation import held_share
from andes_engine.workload.spec import workload_spec
from andes_engine.workload.traffic import WorkloadSpec
from envs.variation import EngineVariation

HELD_SHARE = 0.5
"""Traffic goes with an engine if the engine can hold this share of its requests, in every segment."""


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """Weights of the reward's terms; each term is also logged apart (`info["reward_terms"]`).

    Args:
        qoe: Change of the workload's mean best-case QoE. Its sum over an episode is exactly the mean headline QoE minus 1.
        preemption: Minus preemptions per request of the workload.
        reference: Minus the same change of QoE under the reference knobs on the same requests, simulated alongside. With
            weight 1 the rewards sum to what the policy gains over the reference. Actions cannot change it, so the best policy
            stays the same, but the luck of the arrivals drops out (input-dependent baseline, Mao et al., ICLR 2019). Costs a
            second simulation; not for a live engine.
    """

    qoe: float = 1.0
    preemption: float = 0.0
    reference: float = 0.0


def default_engine() -> EngineConfig:
    """RTX 4090 with Llama-3.1-8B under vLLM 0.19: 2,588 blocks of 16 tokens less the one vLLM keeps; memory is scarce."""
    return EngineConfig("rtx4090_llama3_8b", preset("rtx4090_llama3_8b"), kv_blocks=2587)


def default_workload() -> WorkloadSpec:
    """Cyclic bursts of ShareGPT-like chat for four minutes."""
    burst = {"kind": "cyclic_burst", "period_s": 120.0}
    return workload_spec({"name": "burst", "arrivals": burst, "lengths": "sharegpt", "duration_s": 240.0})


@dataclass(frozen=True, slots=True)
class EnvConfig:
    """One distribution of episodes. Each episode draws an engine, a kind of traffic and a load.

    Args:
        engines: Engines to draw from.
        workloads: Kinds of traffic to draw from; their own rate or load is not used. An engine gets only those that go with
            it (`HELD_SHARE`): long articles are no traffic for a small one.
        load: Bounds of the load, in shares of what FCFS saturates at on the drawn engine.
        action: Knobs the action moves and the reference around which it does.
        reward: Weights of the reward's terms.
        decision_interval_s: Time between actions, s.
        time_limit_s: Episodes still running then are truncated, s.
        scheduler: Scheduler whose knobs are tuned.
        lengths: Source of the output lengths it expects, from `lengths.LENGTH_SOURCES`.
        length_sigma: Standard deviation of the noisy source's error, in logarithms.
        keep_kv: Host memory that every engine gets for KV caches of preempted requests, in shares of its own KV cache.
        variation: How the engine of an episode differs from the one drawn.

    Raises:
        AndesError: If something is empty, not positive or the wrong way round, or no traffic goes with an engine.
    """

    engines: tuple[EngineConfig, ...] = field(default_factory=lambda: (default_engine(),))
    workloads: tuple[WorkloadSpec, ...] = field(default_factory=lambda: (default_workload(),))
    load: tuple[float, float] = (0.7, 1.3)
    action: ActionSpec = field(default_factory=ActionSpec)
    reward: RewardConfig = field(default_factory=RewardConfig)
    decision_interval_s: float = 2.0
    time_limit_s: float = 1800.0
    scheduler: str = "andes"
    lengths: str = "none"
    length_sigma: float = 0.6
    keep_kv: float = 0.0
    variation: EngineVariation = field(default_factory=EngineVariation)

    def __post_init__(self) -> None:
        if not self.engines or not self.workloads:
            raise AndesError("an environment needs at least one engine and one kind of traffic")
        object.__setattr__(self, "engines", tuple(engine.keeping_kv(self.keep_kv) for engine in self.engines))
        low, high = self.load
        if not (math.isfinite(high) and 0.0 < low <= high):
            raise AndesError(f"load = {self.load} must be (low, high) with 0 < low <= high")
        if not (self.decision_interval_s > 0.0 and self.time_limit_s >= self.decision_interval_s):
            raise AndesError(
                f"need 0 < decision_interval_s <= time_limit_s, got {self.decision_interval_s} and {self.time_limit_s}"
            )
        for engine in self.engines:
            if not self.traffic_for(engine):
                names = ", ".join(spec.name for spec in self.workloads)
                raise AndesError(
                    f"engine '{engine.name}' can hold at least {HELD_SHARE:.0%} of the requests of none of the kinds of "
                    f"traffic ({names}), prompt and output in the smallest KV cache that is drawn; add shorter requests"
                )

    def traffic_for(self, engine: EngineConfig) -> tuple[WorkloadSpec, ...]:
        """The kinds of traffic that go with an engine, whichever of its sizes is drawn."""
        smallest = min(self.variation.all_of(engine), key=lambda size: size.kv_blocks)
        return tuple(spec for spec in self.workloads if _goes_with(smallest, spec))


def _goes_with(engine: EngineConfig, spec: WorkloadSpec) -> bool:
    return all(held_share(engine, stretch.spec.request_lengths) >= HELD_SHARE for stretch in spec.stretches)
