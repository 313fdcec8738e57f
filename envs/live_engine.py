"""Live vLLM in this process as an environment's engine: one boot, many episodes, real time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.request import best_case_qoe, deliver, empty_requests
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import episode_requests, planner_for, simulated_twin
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.live_engine import LiveEngine
from andes_engine.workload.spec import workload_spec
from envs.config import EnvConfig
from envs.episodes import Episode
from envs.variation import EngineVariation

LIVE = LiveConfig()
"""Size of the engine the environment boots."""


def live_engine_config() -> EngineConfig:
    """The simulator's twin of the live engine: what episodes are drawn for."""
    return simulated_twin(LIVE, preset("cpu_tiny_llama"))


def live_config() -> EnvConfig:
    """Short bursts on the CPU engine, an action every half second."""
    spec = workload_spec({"name": "burst", "arrivals": "poisson", "lengths": "tiny", "duration_s": 4.0})
    return EnvConfig(
        engines=(live_engine_config(),),
        workloads=(spec,),
        load=(1.0, 2.0),
        decision_interval_s=0.5,
        time_limit_s=60.0,
    )


class LiveEnvEngine:
    """One live engine; boots at the first reset. Lateness is measured where tokens leave the engine."""

    def __init__(self, config: EnvConfig) -> None:
        if config.variation != EngineVariation():
            raise AndesError("a live engine is as it is; leave EnvConfig.variation at its default")
        self._config = config
        self._engine: LiveEngine | None = None

    @classmethod
    def twin(cls, config: EnvConfig) -> LiveEnvEngine:
        """Refused: two live engines would share this machine and slow each other down."""
        raise AndesError("reward.reference needs a second simulation alongside; on a live engine set it to 0")

    def reset(self, episode: Episode) -> None:
        """Start an episode at time 0 with the reference knobs."""
        if self._engine is None:
            self._engine = LiveEngine(LIVE.keeping_kv(self._config.keep_kv))
        self._workload = episode.workload
        self._twin = episode.engine
        config = self._config
        contender = Contender(config.scheduler, config.scheduler, config.action.reference, lengths=config.lengths)
        planner = planner_for(contender, episode.engine)
        if planner is None:
            raise ValueError(f"scheduler '{config.scheduler}' has no knobs to tune; use 'andes'")
        self._planner = planner
        self._engine.set_planner(None)
        self._engine.reset(episode_requests(episode.workload))
        self._engine.set_planner(planner)
        self._table = empty_requests(len(episode.workload))
        for name in ("arrival_s", "ttft_s", "latency_s", "prompt_tokens"):
            self._table[name][:] = getattr(episode.workload, name)

    @property
    def _live(self) -> LiveEngine:
        if self._engine is None:
            raise RuntimeError("the live engine is not booted; call reset() first")
        return self._engine

    def set_knobs(self, vector: NDArray[np.float64]) -> None:
        """Knobs from now on."""
        self._planner.knobs = vector

    def advance(self, until_s: float) -> None:
        """Run in real time until `until_s` or until drained."""
        self._live.advance(until_s)
        for row in range(len(self._workload)):
            times = self._live.token_times[str(row)]
            for time_s in times[self._table.emitted_tokens[row] :]:
                deliver(self._table, row, time_s)

    def observe(self) -> NDArray[np.float32]:
        """What a policy sees now."""
        return self._planner.observe_engine(self.now_s, *self._live.look())

    def potential(self) -> float:
        """Sum of the workload's best-case QoE now."""
        rows = range(len(self._workload))
        now_s = self.now_s
        arrived = [row for row in rows if self._workload.arrival_s[row] <= now_s]
        best = [best_case_qoe(self._table, row, self._workload.output_tokens[row], now_s) for row in arrived]
        return float(sum(best)) + len(rows) - len(arrived)

    def preemptions(self) -> int:
        """Preemptions so far."""
        return sum(self._live.preemptions.values())

    def record(self) -> RunRecord:
        """Outcome so far."""
        rows = range(len(self._workload))
        return record_from_tokens(
            self._workload,
            f"{self._twin.name} (live)",
            self._config.scheduler,
            [np.asarray(self._live.token_times[str(row)]) for row in rows],
            np.array([self._live.preemptions[str(row)] for row in rows], dtype=np.int64),
            duration_s=self.now_s,
            prefill_tokens=sum(sample.prefill_tokens for sample in self._live.samples),
        )

    @property
    def drained(self) -> bool:
        """Whether every request has finished."""
        return self._live.drained

    @property
    def now_s(self) -> float:
        """Engine clock, s."""
        return self._live.now_s

    def close(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
