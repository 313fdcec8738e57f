"""Training: from a configuration to a run directory with checkpoints, learning curve and policy bundle."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.algorithms import agent_settings, build_model
from agents.build import env_config
from agents.checkpoint import checkpoint_folder, checkpoint_state, resume, save_checkpoint
from agents.config import TrainConfig
from agents.export import bundle_of, export_checkpoint
from agents.failure import TrainingError, failure, how_to_go_on
from agents.interrupts import stoppable
from agents.model_card import model_card
from agents.run_dir import RunDir, made_with, plain
from agents.tracking import Tracker, tracking
from agents.validation import Validation, Validator
from andes_engine.policy.bundle import Bundle
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
            lines.append(f"go on with: {how_to_go_on(self.run_dir)}")
        return lines


def train(config: TrainConfig) -> TrainResult:
    """Train a policy; interrupted (Ctrl-C, SIGTERM), it keeps what it has and returns as if the time were over.

    Raises:
        AndesError: If the configuration cannot work.
        TrainingError: If training could not go on; the message says why, what is kept, and how to go on.
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
        self.validator = Validator(config, env)

    @property
    def best(self) -> Validation:
        """The best validation so far; of equals the first, so that an untrained policy wins ties."""
        return max(self.curve, key=lambda point: point.qoe)

    def run(self) -> TrainResult:
        """Learn until steps or time are used up, then export the best policy.

        Raises:
            TrainingError: Whatever went wrong.
        """
        try:
            return self._finished(*self._learned())
        except Exception as error:
            raise failure(error, self.run_dir, self.model.num_timesteps) from error

    def _learned(self) -> tuple[float, float, bool]:
        """Learn; wall clock in s, decisions per second without validation, and whether it was stopped from outside."""
        from agents.learner import Watch, check_weights, tracker_logger

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
            check_weights(model.policy, model.num_timesteps)
            self._save("last")
        except Exception as error:
            self._keep_after(error)
            raise
        finally:
            watch.close()
        seconds = time.monotonic() - started_s
        return seconds, (model.num_timesteps - started_steps) / max(seconds - self.judge_s, 1e-9), interrupted

    def _keep_after(self, error: Exception) -> None:
        """Keep what was learned until an error; not where it cannot be written, nor weights that are none."""
        from agents.learner import check_weights

        if not isinstance(error, OSError):
            with suppress(TrainingError, OSError):  # the error that led here is the one to tell
                check_weights(self.model.policy, self.model.num_timesteps)
                self._save("last")

    def _finished(self, seconds: float, steps_per_s: float, interrupted: bool) -> TrainResult:
        """Export, publish."""
        model = self.model
        if not self.curve:
            self.judge(model.num_timesteps)
        bundle = export_checkpoint(self.run_dir.path, "best", self.run_dir.path / "bundle")
        result = TrainResult(
            self.run_dir.path,
            bundle,
            model.num_timesteps,
            seconds,
            steps_per_s,
            self.best,
            self.validator.references,
            interrupted,
        )
        self._publish(result)
        return result

    def judge(self, steps: int) -> dict[str, float]:
        """Validate the present policy and keep it: as the best if it is, and as the last."""
        started_s = time.monotonic()
        point = self.validator(self._bundle(), steps)
        self.curve.append(point)
        if self.best is point:
            self._save("best")
        self._save("last")
        self.judge_s += time.monotonic() - started_s
        return {"validation/qoe": point.qoe, "validation/gain": point.gain}

    def _bundle(self) -> Bundle:
        env, config = self.env, self.config
        card = model_card(config, self.curve, self.validator.references)
        provenance = plain(self._provenance())
        return bundle_of(self.model.policy, config.name, env, provenance, card)

    def _save(self, which: str) -> None:
        state = {
            "algorithm": _algorithm(self.config),
            "steps": self.model.num_timesteps,
            "action": self.env.action,
            "curve": self.curve,
        }
        save_checkpoint(self.run_dir, which, self.model, self._bundle(), state)

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
        state = resume(earlier, self.model, self.env.action, _algorithm(self.config))
        self.model.set_random_seed(
            self.config.seed + self.model.num_timesteps
        )  # new episodes, not the first ones again
        best = checkpoint_folder(earlier, "best")
        best_state = checkpoint_state(best)
        if best_state and _judged_on(earlier.config()) == _judged_on(plain(self.config)):
            curve = max(
                state["curve"], best_state["curve"], key=len
            )  # killed in between, the best knows one point more
            self.curve = [Validation(**point) for point in curve]
            shutil.copytree(best, self.run_dir.path / "checkpoints" / "best")

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


def _algorithm(config: TrainConfig) -> str:
    return str(config.agent.get("algorithm", "ppo"))
