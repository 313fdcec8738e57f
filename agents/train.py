"""Training: from a configuration to a run directory with checkpoints, learning curve and policy bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.algorithms import agent_settings, build_model
from agents.build import env_config
from agents.checkpoint import resume, save_checkpoint
from agents.config import TrainConfig
from agents.export import bundle_of, export_checkpoint
from agents.model_card import model_card
from agents.run_dir import RunDir, made_with, plain
from agents.tracking import Tracker, tracking
from agents.validation import Validation, Validator
from envs.config import EnvConfig


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run leaves.

    Args:
        run_dir: Run directory.
        bundle: Folder of the best policy's bundle.
        steps: Decisions trained, earlier runs included.
        seconds: Wall clock of this run, s, validation included.
        steps_per_s: Decisions per second of learning, validation left out.
        best: Validation of the best policy.
        references: Mean QoE of the schedulers it was compared with.
        interrupted: Whether it was stopped from outside.
    """

    run_dir: Path
    bundle: Path
    steps: int
    seconds: float
    steps_per_s: float
    best: Validation
    references: Mapping[str, float]
    interrupted: bool

    def lines(self) -> list[str]:
        """How it went and where things are, for the terminal."""
        best, others = self.best, ", ".join(f"{name} {qoe:.4f}" for name, qoe in self.references.items())
        ended = "stopped" if self.interrupted else "trained"
        lines = [
            f"{ended} after {self.steps} decisions in {self.seconds:.0f} s ({self.steps_per_s:.0f} decisions/s)",
            f"best validation QoE {best.qoe:.4f} ({best.gain:+.4f}) after {best.steps} decisions; {others}",
            f"run directory: {self.run_dir}",
            f"bundle: {self.bundle}",
        ]
        if self.interrupted:
            lines.append(f"go on with: python -m scripts.train train.resume={self.run_dir}")
        return lines


def train(config: TrainConfig) -> TrainResult:
    """Train a policy; interrupted (Ctrl-C, SIGTERM), it keeps what it has and returns as if the time were over.

    Raises:
        AndesError: If the configuration cannot work, or training diverged.
    """
    agent_settings(config.agent)
    env = env_config(config)
    run = RunDir.create(config.run_dir, plain(config), config.seed)
    with tracking(config.tracking, run.path, plain(config), run.path.name) as tracker:
        return Training(config, env, run, tracker).run()


class Training:
    """One training run.

    Args:
        config: Everything that was asked for.
        env: What episodes are drawn from.
        run: Where files go.
        tracker: Where curves go.
    """

    def __init__(self, config: TrainConfig, env: EnvConfig, run: RunDir, tracker: Tracker) -> None:
        from agents.sb3_vec import make_vec_env

        self.config = config
        self.env = env
        self.run_dir = run
        self.tracker = tracker
        self.curve: list[Validation] = []
        self.judge_s = 0.0
        self.model = build_model(config.agent, make_vec_env(config, env), config.seed)
        if config.train.resume:
            self._resume(RunDir.open(config.train.resume))
        self.validator = Validator(config)

    @property
    def best(self) -> Validation:
        """The best validation so far; of equals the first, so that an untrained policy wins ties."""
        return max(self.curve, key=lambda point: point.qoe)

    def run(self) -> TrainResult:
        """Learn until steps or time are used up, then export the best policy."""
        from agents.learner import Watch, check_weights, diverged, stoppable, tracker_logger

        settings, model = self.config.train, self.model
        model.set_logger(tracker_logger(self.tracker))
        watch = Watch(settings, self.tracker, self.judge)
        started_s, started_steps, interrupted = time.monotonic(), model.num_timesteps, False
        try:
            with stoppable():
                left = max(settings.steps - started_steps, 0)
                model.learn(left, callback=watch, reset_num_timesteps=False)
        except KeyboardInterrupt:
            interrupted = True
            watch.close()
            self._save("last")
        except ValueError as error:  # torch refuses a distribution of NaN or infinite parameters
            check_weights(model.policy, model.num_timesteps)
            if "invalid values" not in str(error):
                raise
            raise diverged("the distribution of actions overflowed", model.num_timesteps) from None
        seconds = time.monotonic() - started_s
        if not self.curve:
            self.judge(model.num_timesteps)
        learned = (model.num_timesteps - started_steps) / max(seconds - self.judge_s, 1e-9)
        bundle = export_checkpoint(self.run_dir.path, "best", self.run_dir.path / "bundle")
        result = TrainResult(
            self.run_dir.path,
            bundle,
            model.num_timesteps,
            seconds,
            learned,
            self.best,
            self.validator.references,
            interrupted,
        )
        self._publish(result)
        return result

    def judge(self, steps: int) -> dict[str, float]:
        """Validate the present policy and keep it: as the last, and as the best if it is."""
        started_s = time.monotonic()
        env, name = self.env, self.config.name
        bundle = bundle_of(self.model.policy, name, env.action, env.decision_interval_s)
        point = self.validator(bundle, steps)
        self.curve.append(point)
        self._save("last")
        if self.best is point:
            self._save("best")
        self.judge_s += time.monotonic() - started_s
        return {"validation/qoe": point.qoe, "validation/gain": point.gain}

    def _save(self, which: str) -> None:
        state = {
            "name": self.config.name,
            "steps": self.model.num_timesteps,
            "action": self.env.action,
            "decision_interval_s": self.env.decision_interval_s,
            "curve": self.curve,
            "provenance": self._provenance(),
            "model_card": model_card(self.config, self.curve, self.validator.references),
        }
        save_checkpoint(self.run_dir, which, self.model, state)

    def _provenance(self) -> dict[str, Any]:
        return {
            "run": self.run_dir.path.name,
            "tracked_as": self.tracker.identity,
            "seed": self.config.seed,
            **made_with(),
            "steps": self.model.num_timesteps,
            "validation": self.curve[-1] if self.curve else None,
            "references": self.validator.references,
            "config": self.config,
        }

    def _resume(self, earlier: RunDir) -> None:
        """Go on where another run stopped; its curve and best policy count only if they were judged on the same workloads."""
        state = resume(earlier, self.model, self.env.action)
        self.model.set_random_seed(
            self.config.seed + self.model.num_timesteps
        )  # new episodes, not the first ones again
        if _judged_on(earlier.config()) == _judged_on(plain(self.config)):
            self.curve = [Validation(**point) for point in state["curve"]]
            shutil.copytree(earlier.path / "checkpoints" / "best", self.run_dir.path / "checkpoints" / "best")

    def _publish(self, result: TrainResult) -> None:
        from agents.lineage import log_trained
        from andes_engine.report.figures import learning_curve, save

        self.run_dir.write_results({**plain(result), "curve": self.curve})
        steps, qoe = [point.steps for point in self.curve], [point.qoe for point in self.curve]
        figure = learning_curve(steps, qoe, result.references, self.config.name)
        save(figure, self.run_dir.path / "learning_curve")
        self.tracker.figure("learning curve", figure)
        log_trained(self.tracker, result.bundle, self.config.name, self._provenance())


def _judged_on(config: Mapping[str, Any]) -> list[Any]:
    """The settings that make two validations comparable."""
    train = config["train"]
    return [config["engine"], config["workload"], config["scheduler"], train["eval_loads"], train["eval_seeds"]]
