"""What happens around stable-baselines3 while it learns: limits, validation, checkpoints, curves, and refusing NaN."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from tqdm import tqdm

from agents.config import TrainSettings
from agents.failure import diverged
from agents.interrupts import raise_if_interrupted
from agents.tracking import Tracker


class Watch(BaseCallback):
    """Ends training in time, calls `judge` at its interval, and reports episodes.

    Args:
        settings: Limits and interval.
        tracker: Where curves go.
        judge: Validates, keeps checkpoints and returns curves; called with the decisions so far, the last time at the end.
    """

    def __init__(self, settings: TrainSettings, tracker: Tracker, judge: Callable[[int], Mapping[str, float]]) -> None:
        super().__init__()
        self._settings = settings
        self._tracker = tracker
        self._judge = judge
        self._next_judgement = 0
        self._judged_at = -1
        self._bar: tqdm | None = None
        self._episodes: list[Mapping[str, Any]] = []
        self._end_s = time.monotonic() + 60.0 * settings.minutes if settings.minutes else np.inf

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self._settings.steps,
            initial=min(self.num_timesteps, self._settings.steps),
            desc="training",
            unit=" decisions",
            disable=None if self._settings.progress else True,
        )

    def _on_rollout_start(self) -> None:
        check_weights(self.model.policy, self.num_timesteps)
        if self.num_timesteps >= self._next_judgement:
            self._judge_now()
            self._next_judgement = self.num_timesteps + self._settings.eval_every
        self._report_episodes()

    def _on_step(self) -> bool:
        raise_if_interrupted()
        if self._bar is not None:
            self._bar.update(self.training_env.num_envs)
        infos = self.locals["infos"]
        self._episodes += [info for info in infos if "episode_qoe" in info]
        return time.monotonic() < self._end_s

    def _on_training_end(self) -> None:
        check_weights(self.model.policy, self.num_timesteps)
        if self._judged_at != self.num_timesteps:
            self._judge_now()
        self.close()

    def close(self) -> None:
        """Leave the progress bar; also after an interruption."""
        if self._bar is not None:
            self._bar.close()

    def _judge_now(self) -> None:
        self._judged_at = self.num_timesteps
        curves = self._judge(self.num_timesteps)
        self._tracker.log(self.num_timesteps, curves)
        if self._bar is not None:
            self._bar.set_postfix({name.rsplit("/", 1)[-1]: f"{value:.4f}" for name, value in curves.items()})

    def _report_episodes(self) -> None:
        if not self._episodes:
            return
        values = {f"episode/{key}": _mean(self._episodes, key) for key in ("episode_qoe", "episode_qoe_lower")}
        terms = [info["reward_terms"] for info in self._episodes]
        values |= {f"reward/{key}": _mean(terms, key) for key in terms[0]}
        self._tracker.log(self.num_timesteps, values)
        self._episodes = []


class TrackerWriter(KVWriter):
    """Hands what stable-baselines3 logs about its updates to the tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Losses, KL divergence and the like."""
        shown = {key: float(value) for key, value in key_values.items() if key.startswith("train/")}
        if shown:
            self._tracker.log(step, shown)

    def close(self) -> None:
        """Nothing to close."""


def tracker_logger(tracker: Tracker) -> Logger:
    """The logger of a model whose curves go to `tracker`."""
    return Logger(folder=None, output_formats=[TrackerWriter(tracker)])


def check_weights(policy: torch.nn.Module, steps: int) -> None:
    """Refuse to go on with NaN or infinite weights.

    Raises:
        TrainingError: Naming the parameter and what to change.
    """
    for name, parameter in policy.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise diverged(f"'{name}' holds NaN or infinity", steps)


def _mean(rows: list[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))
