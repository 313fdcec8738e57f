"""Many simulated engines stepped by one compiled call: the batched form of `andes/SimScheduler-v0`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.random import SeedSequence
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.cores import available_cores
from andes_engine.sim import state as st
from andes_engine.sim.simulator import Simulator
from envs.config import EnvConfig
from envs.episodes import EpisodeSampler, most_requests, most_users, roomiest
from envs.reward import TERMS, weighted
from envs.spaces import action_space, observation_space

FloatArray = NDArray[np.float64]


class SimVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], Any]):
    """`SchedulerEnv` over the simulator, `num_envs` at a time; episodes that end start anew in the same step.

    Args:
        config: Distribution of episodes.
        num_envs: Engines side by side.
        render_mode: Only None; render a single environment instead.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, config: EnvConfig | None = None, num_envs: int = 1, render_mode: str | None = None) -> None:
        if num_envs < 1 or render_mode is not None:
            raise ValueError(f"need num_envs >= 1 and render_mode None, got {num_envs} and {render_mode!r}")
        self.config = config or EnvConfig()
        self.num_envs = num_envs
        self.render_mode = None
        self.single_observation_space = observation_space()
        self.single_action_space = action_space(self.config.action)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._simulator = self._build()
        self._reference = self._build() if self.config.reward.reference else None
        self._reference_potential = np.zeros(num_envs)
        self._samplers: list[EpisodeSampler] = []
        self._decision_s = np.zeros(num_envs)
        self._potential = np.zeros(num_envs)
        self._preemptions = np.zeros(num_envs, dtype=np.int64)
        self._terms = {name: np.zeros(num_envs) for name in TERMS}

    def _build(self) -> Simulator:
        roomy, threads = roomiest(self.config), available_cores()
        users = most_users(self.config)
        return Simulator([roomy] * self.num_envs, most_requests(self.config), users=users, threads=threads)

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode in every engine; a seed restarts the sequence of episodes."""
        if options:
            raise ValueError(f"reset options {sorted(options)} are not known here; use the single environment for them")
        if seed is not None or not self._samplers:
            self._samplers = [EpisodeSampler(self.config, source) for source in self._seeds(seed)]
        for index in range(self.num_envs):
            self._start(index)
        return self._simulator.observations(), {}

    def _seeds(self, seed: int | list[int] | None) -> list[SeedSequence]:
        if isinstance(seed, list):
            return [SeedSequence(one) for one in seed]
        return SeedSequence(seed).spawn(self.num_envs)

    def _start(self, index: int) -> None:
        episode, config = self._samplers[index].next(), self.config
        lengths = config.lengths, config.length_sigma
        for simulator in (self._simulator, self._reference):
            if simulator is not None:
                simulator.set_engine(index, episode.engine)
                simulator.reset(index, episode.workload, config.scheduler, config.action.knobs, *lengths)
        self._decision_s[index] = 0.0
        self._potential[index] = self._reference_potential[index] = len(episode.workload)
        self._preemptions[index] = 0
        for total in self._terms.values():
            total[index] = 0.0

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Set every engine's knobs, let all run for one decision interval."""
        self._simulator.engines.knobs[:] = self.config.action.knob_vectors(actions)
        self._decision_s += self.config.decision_interval_s
        observations = self._advance()
        rewards = self._rewards()
        terminated = self._drained()
        truncated = ~terminated & (self._decision_s >= self.config.time_limit_s)
        infos: dict[str, Any] = {}
        if (terminated | truncated).any():
            observations, infos = self._restart(terminated | truncated, observations)
        return observations, rewards, terminated, truncated, infos

    def _advance(self) -> NDArray[np.float32]:
        """Run the engines, and those of the reference."""
        if self._reference is not None:
            self._reference.step_unseen(self._decision_s)
        return self._simulator.step(self._decision_s)

    def _drained(self) -> NDArray[np.bool_]:
        engines = self._simulator.engines
        return engines.counters[:, ct.FINISHED] == engines.registers[:, st.R_LIMIT]

    def _rewards(self) -> FloatArray:
        potential = self._simulator.latest_potentials()
        preemptions = self._simulator.engines.counters[:, ct.PREEMPTIONS]
        requests = self._simulator.requests()
        terms = {
            "qoe": (potential - self._potential) / requests,
            "preemption": -(preemptions - self._preemptions) / requests,
            "reference": self._reference_term(requests),
        }
        self._potential, self._preemptions = potential, preemptions.copy()
        for name, values in terms.items():
            self._terms[name] += values
        return weighted(self.config.reward, terms)

    def _reference_term(self, requests: NDArray[np.int64]) -> FloatArray:
        if self._reference is None:
            return np.zeros(self.num_envs)
        if (drained := self._drained()).any():  # at the end, all of the reference's loss counts
            self._reference.step_unseen(np.where(drained, np.inf, self._decision_s))
        potential = self._reference.latest_potentials()
        change = (potential - self._reference_potential) / requests
        self._reference_potential = potential
        return -change

    def _restart(
        self, ended: NDArray[np.bool_], observations: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start the ended engines anew; what they ended with goes into the infos, as Gymnasium's SAME_STEP asks."""
        final = np.full(self.num_envs, None, dtype=object)
        outcome: dict[str, Any] = {key: np.zeros(self.num_envs) for key in ("episode_qoe", "episode_qoe_lower")}
        outcome["reward_terms"] = {name: np.where(ended, total, 0.0) for name, total in self._terms.items()}
        for index in np.flatnonzero(ended):
            final[index] = observations[index].copy()
            record = self._simulator.record(int(index), self.config.scheduler)
            outcome["episode_qoe"][index] = record.qoe.mean()
            outcome["episode_qoe_lower"][index] = record.qoe_lower.mean()
            self._start(int(index))
        fresh = self._simulator.observe_again(np.flatnonzero(ended))
        return fresh, {"final_obs": final, "_final_obs": ended, "final_info": outcome, "_final_info": ended}
