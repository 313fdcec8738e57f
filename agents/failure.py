"""What is told when training cannot go on: the cause, what is kept, and how to go on."""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from pathlib import Path

from agents.checkpoint import checkpoint_folder, checkpoint_state
from agents.run_dir import RunDir, write_text
from andes_engine.errors import AndesError

ERROR = "error.txt"


class TrainingError(AndesError):
    """Training that cannot go on."""


def diverged(what: str, steps: int) -> TrainingError:
    """The error of training that went wrong, with what to change."""
    return TrainingError(
        f"training diverged: {what} after {steps} decisions; lower agent.learning_rate (for PPO, set agent.max_grad_norm and "
        "agent.target_kl as well); the checkpoints are from before"
    )


def failure(error: Exception, run: RunDir, steps: int) -> TrainingError:
    """One message for an error that ended training; where the cause is not in it, `error.txt` of the run has the traceback."""
    if isinstance(error, AndesError):
        cause = str(error)
    elif isinstance(error, OSError):
        cause = (
            f"training stopped after {steps} decisions, a file could not be written or read: {error}; is the disk full?"
        )
    elif isinstance(error, ValueError) and "invalid values" in str(error):  # torch refuses NaN in a distribution
        cause = str(diverged("the distribution of actions holds NaN or infinity", steps))
    else:
        cause = f"training stopped after {steps} decisions: {type(error).__name__}: {error} (traceback in {run.path / ERROR})"
        with suppress(OSError):
            write_text(run.path / ERROR, "".join(traceback.format_exception(error)))
    return TrainingError(" ".join(f"{cause}; {_kept(run)}".split()))


def how_to_go_on(run: Path) -> str:
    """What to type to train on."""
    return f"the same command with train.resume={run} and, where one was given, another run_dir"


def _kept(run: RunDir) -> str:
    with suppress(OSError, json.JSONDecodeError):
        if state := checkpoint_state(checkpoint_folder(run, "last")):
            return f"kept up to decision {state['steps']}, go on with: {how_to_go_on(run.path)}"
    return f"nothing was kept yet, remove {run.path} and start again"
