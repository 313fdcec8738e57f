"""The environment for one engine; its manual page is generated from the specifications."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from andes_engine.workload import Workload
from envs.config import EnvConfig
from envs.engine import EnvEngine
from envs.episodes import Episode, EpisodeSampler
from envs.manual import manual
from envs.reward import TERMS, weighted
from envs.spaces import action_space, observation_space
from envs.trail import Trail


class SchedulerEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Tune a scheduler's knobs while it serves; see `envs.manual`."""

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}

    def __init__(self, engine: type[EnvEngine], config: EnvConfig, render_mode: str | None = None) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode = {render_mode!r}; allowed are {self.metadata['render_modes']} or None")
        self.config = config
        self.render_mode = render_mode
        self.observation_space = observation_space()
        self.action_space = action_space(config.action)
        self._engine = engine(config)
        self._reference = engine.twin(config) if config.reward.reference else None
        self._sampler: EpisodeSampler | None = None
        self._episode: Episode | None = None
        self._observation = np.zeros(self.observation_space.shape or (), dtype=np.float32)
        self._decision_s = 0.0
        self._potential = 0.0
        self._preemptions = 0
        self._terms = dict.fromkeys(TERMS, 0.0)
        self._reference_potential = 0.0
        self._trail = Trail()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start the next episode.

        Args:
            seed: Restarts the sequence of episodes.
            options: `{"workload": Workload}` replays these requests; `{"engine": EngineConfig}` picks the engine.
        """
        super().reset(seed=seed)
        if seed is not None or self._sampler is None:
            entropy = seed if seed is not None else int(self.np_random.integers(2**32))
            self._sampler = EpisodeSampler(self.config, SeedSequence(entropy))
        self._episode = _chosen(self._sampler, options or {})
        for engine in self._engines():
            engine.reset(self._episode)
        self._decision_s = 0.0
        self._potential = self._reference_potential = float(len(self._episode.workload))
        self._preemptions = 0
        self._terms = dict.fromkeys(self._terms, 0.0)
        self._observation = self._engine.observe()
        self._trail = Trail()
        self._note(np.zeros(self.config.action.size))
        return self._observation.copy(), {
            "load": self._episode.load,
            "requests": len(self._episode.workload),
            "fingerprint": self._episode.workload.fingerprint,
        }

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Set the knobs, let the engine run for one decision interval."""
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        self._engine.set_knobs(self.config.action.knob_vector(action))
        self._decision_s += self.config.decision_interval_s
        self._engine.advance(self._decision_s)
        reward = self._reward()
        terminated = bool(self._engine.drained)
        truncated = bool(not terminated and self._decision_s >= self.config.time_limit_s)
        info: dict[str, Any] = {"now_s": self._engine.now_s}
        if terminated or truncated:
            info |= self._outcome()
        self._observation = self._engine.observe()
        self._note(action)
        return self._observation.copy(), reward, terminated, truncated, info

    def _reward(self) -> float:
        assert self._episode is not None
        potential, preemptions = self._engine.potential(), self._engine.preemptions()
        requests = len(self._episode.workload)
        terms = {
            "qoe": (potential - self._potential) / requests,
            "preemption": -(preemptions - self._preemptions) / requests,
            "reference": self._reference_term() / requests,
        }
        self._potential, self._preemptions = potential, preemptions
        for name, value in terms.items():
            self._terms[name] += value
        return float(weighted(self.config.reward, terms))

    def _reference_term(self) -> float:
        if self._reference is None:
            return 0.0
        # at the end, all of the reference's loss counts
        self._reference.advance(np.inf if self._engine.drained else self._decision_s)
        before, self._reference_potential = self._reference_potential, self._reference.potential()
        return before - self._reference_potential

    def _engines(self) -> list[EnvEngine]:
        return [self._engine] if self._reference is None else [self._engine, self._reference]

    def _outcome(self) -> dict[str, Any]:
        record = self._engine.record()
        return {
            "episode_qoe": float(record.qoe.mean()),
            "episode_qoe_lower": float(record.qoe_lower.mean()),
            "reward_terms": dict(self._terms),
            "record": record,
        }

    def _note(self, action: NDArray[np.floating]) -> None:
        if self.render_mode is not None:
            knobs = self.config.action.knob_vector(action)
            self._trail.note(self._engine.now_s, self._observation, self._engine.preemptions(), knobs, action)

    def render(self) -> Any:
        """The episode so far as text (`ansi`) or picture (`rgb_array`): chosen requests' tokens, memory, queue, knobs."""
        if self.render_mode is None or self._episode is None:
            return None
        from envs.rendering import draw, tell  # with matplotlib, which training does not need

        now_s, record, action = self._engine.now_s, self._engine.record(), self.config.action
        if self.render_mode == "ansi":
            return tell(now_s, record, self._observation, self._trail, action)
        return draw(now_s, record, self._trail, action)

    def close(self) -> None:
        """Free the engine."""
        for engine in self._engines():
            engine.close()


def _chosen(sampler: EpisodeSampler, options: dict[str, Any]) -> Episode:
    unknown = set(options) - {"workload", "engine"}
    if unknown:
        raise ValueError(f"reset options {sorted(unknown)} are not known; allowed are 'workload' and 'engine'")
    episode = sampler.next()
    if "engine" in options:
        episode = episode._replace(engine=options["engine"])
    if "workload" in options:
        workload: Workload = options["workload"]
        workload.check_fits(episode.engine)
        episode = episode._replace(workload=workload, load=float("nan"))
    return episode


SchedulerEnv.__doc__ = manual()
