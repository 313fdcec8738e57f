"""A user's own scheduler: a score function in a module of theirs, named ``module.function`` wherever a scheduler is named.

    def fewest_tokens(requests, now_s):
        return -(requests["prompt_tokens"] + requests["emitted_tokens"])

It gets the live requests as a structured array with the fields of `andes_engine.request.REQUEST` (a copy, so nothing can be
spoilt) and the engine's clock, and returns one number per request: higher first. NumPy or numba, as you like. It is called
before every iteration; trigger, packing, preemption and the engines are those of every other scheduler.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import SchedulerError
from andes_engine.request import Requests

ScoreFunction = Callable[[NDArray[Any], float], NDArray[np.float64]]
"""Live requests of shape (n,) and the engine's clock in s, to scores of shape (n,)."""


def load_score(name: str) -> ScoreFunction:
    """The function a dotted name stands for; modules in the working directory are found last.

    Raises:
        SchedulerError: If the module cannot be imported, or has no such function.
    """
    module_name, _, function_name = name.rpartition(".")
    if os.getcwd() not in sys.path:  # as for a console script, whose sys.path begins at its own folder
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SchedulerError(
            f"scheduler '{name}': cannot import '{module_name}' ({_line(error)}); it must be on PYTHONPATH or in the folder "
            "you start from"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise SchedulerError(
            f"scheduler '{name}': module '{module_name}' has no function '{function_name}'; define "
            f"{function_name}(requests, now_s) that returns one score per request"
        )
    return function


def score_live(function: ScoreFunction, name: str, table: Requests, rows: NDArray[np.int64], now_s: float) -> None:
    """Ask the user's function and leave its scores in the table.

    Raises:
        SchedulerError: If it fails, or does not return one number per request.
    """
    if len(rows) == 0:
        return
    try:
        scores = np.asarray(function(table[rows].copy().view(np.recarray), now_s), dtype=np.float64)
    except Exception as error:
        raise SchedulerError(f"scheduler '{name}' failed at {now_s:.3f} s: {_line(error)}{_place(error)}") from error
    if scores.shape != (len(rows),) or np.isnan(scores).any():
        raise SchedulerError(
            f"scheduler '{name}' must return one number, not NaN, for each of {len(rows)} requests, shape ({len(rows)},); got "
            f"shape {scores.shape} with {int(np.isnan(scores).sum())} NaN"
        )
    table["score"][rows] = scores


def _line(error: Exception) -> str:
    """Kind and message of a user's error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _place(error: Exception) -> str:
    """Line of the user's function that failed: the frame below ours, whatever library it failed in."""
    trace = error.__traceback__ and error.__traceback__.tb_next
    return f", {os.path.basename(trace.tb_frame.f_code.co_filename)} line {trace.tb_lineno}" if trace else ""
