"""The trials of a search on disk: an Optuna study in a journal that processes share and a killed search goes on with."""

from __future__ import annotations

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from agents.row_store import first_difference
from agents.run_dir import plain, write_text
from agents.schema import ConfigError
from andes_engine.errors import AndesError, check_known

JOURNAL, DESCRIPTION, LOCK = "study.jsonl", "search.json", "study.lock"
AGAIN = "again"
"""Attribute of a trial that repeats one that was cut off: its number."""
FAILURE = "failure"
"""Attribute of a trial that failed by itself: why."""

SAMPLERS, PRUNERS = ("tpe", "cmaes"), ("paired", "median", "none")
MOST_ERRORS = 2.0
"""Standard errors that a trial may lie behind the best one before it is stopped."""

optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are told by the progress bar and the record


class StudyError(AndesError):
    """A study that cannot be read or written, or from which nothing came."""


@dataclass(frozen=True, slots=True)
class StudySettings:
    """How to search.

    Args:
        sampler: `tpe`, or `cmaes`, which starts in the middle of the bounds and leaves choices of names to TPE.
        pruner: `paired` stops a trial whose mean difference to the best one on the same workloads is below 0 beyond doubt,
            `median` one whose running mean is below the median of the others', `none` no trial.
        startup_trials: Trials before the sampler models anything.
        startup_steps: Workloads that every trial sees.
        trials: Finished trials at most, those of earlier starts included.
        minutes: Wall clock of one start at most, min; none by default.
        workers: Processes; 0 for one per core.

    Raises:
        UnknownNameError: If there is no such sampler or pruner.
        ConfigError: If a number is out of bounds.
    """

    sampler: str = "tpe"
    pruner: str = "paired"
    startup_trials: int = 20
    startup_steps: int = 8
    trials: int = 400
    minutes: float | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        check_known("sampler", [self.sampler], SAMPLERS)
        check_known("pruner", [self.pruner], PRUNERS)
        for name, least in (("startup_trials", 1), ("startup_steps", 1), ("trials", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")
        if self.minutes is not None and not self.minutes > 0.0:
            raise ConfigError(f"minutes = {self.minutes} must be above 0, or null for no limit")


@contextmanager
def study_folder(path: Path, described: Mapping[str, Any], start: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """A folder whose study may be worked on, by this process and its workers alone.

    A new study starts with the given trials. In one that goes on, trials that were cut off are tried again.

    Args:
        path: Made if it is not there.
        described: Whatever makes the search what it is.
        start: Values to try first.

    Raises:
        ConfigError: If another search is there, or another process is working on it.
        StudyError: If the journal is damaged or cannot be written.
    """
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path), journal_errors(path):
        _check_same(path / DESCRIPTION, plain(described))
        _check_lines(path / JOURNAL)
        (path / f"{JOURNAL}.lock").unlink(missing_ok=True)  # of a process that was killed while it wrote
        study = load_study(path)
        if not study.get_trials(deepcopy=False):
            for values in start:
                study.enqueue_trial(dict(values), skip_if_exists=True)
        _try_again(study)
        yield


def load_study(path: Path, sampler: optuna.samplers.BaseSampler | None = None, pruner: Any = None) -> optuna.Study:
    """The study of a folder, made if it is not there."""
    file = str((path / JOURNAL).resolve())
    storage = JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file)))
    return optuna.create_study(
        storage=storage,
        study_name="tune",
        direction="maximize",
        load_if_exists=True,
        sampler=sampler,
        pruner=pruner or optuna.pruners.NopPruner(),
    )


def make_sampler(settings: StudySettings, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        tpe = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=settings.startup_trials)
        if settings.sampler == "tpe":
            return tpe
        return optuna.samplers.CmaEsSampler(
            seed=seed,
            n_startup_trials=settings.startup_trials,
            independent_sampler=tpe,
            warn_independent_sampling=False,
        )


class PairedPruner(optuna.pruners.BasePruner):
    """Stops a trial that is behind the best one in the mean over the workloads both have seen.

    In the mean, because the mean is what a search makes large: Optuna's Wilcoxon pruner compares ranks, and stops a setting that
    wins much on a few workloads and loses a little on most. A smaller prefill budget is such a setting.

    Args:
        startup_steps: Workloads that every trial sees.
    """

    def __init__(self, startup_steps: int) -> None:
        self._startup_steps = startup_steps

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether it lies `MOST_ERRORS` standard errors behind."""
        mine = trial.intermediate_values
        if len(mine) < max(self._startup_steps, 2):
            return False
        complete = _complete(study)
        if not complete:
            return False
        best = complete[0].intermediate_values
        behind = np.array([mine[step] - best[step] for step in sorted(mine)])
        return bool(behind.mean() < -MOST_ERRORS * behind.std(ddof=1) / np.sqrt(len(behind)))


def make_pruner(settings: StudySettings) -> optuna.pruners.BasePruner:
    """The pruner."""
    if settings.pruner == "paired":
        return PairedPruner(settings.startup_steps)
    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.startup_steps - 1)
    return optuna.pruners.NopPruner()


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to an end by themselves."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished() and not _cut_off(trial)]


def counts(study: optuna.Study) -> dict[str, int]:
    """How many trials were finished, pruned, or failed."""
    ended = finished(study)
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    return {name: sum(trial.state == state for trial in ended) for name, state in states.items()}


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, the best first.

    Raises:
        StudyError: If there is none; it says how many failed, and why the first did.
    """
    complete = _complete(study)
    if not complete:
        failed = [trial for trial in finished(study) if trial.state == TrialState.FAIL]
        why = f"; {len(failed)} failed, the first with: {failed[0].user_attrs[FAILURE]}" if failed else ""
        raise StudyError(f"no trial was finished{why}. Give more study.minutes or study.trials, or another search")
    return complete


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    """Complete trials, the best first; perhaps none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """What the file system refuses, in words."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"cannot write {path / JOURNAL}: {error.strerror or error}; finished trials are kept, start again with "
            f"run_dir={path} to go on"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with (path / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another process is searching in {path}; wait for it, or give another run_dir") from None
        yield


def _check_same(path: Path, described: Mapping[str, Any]) -> None:
    if not path.is_file():
        write_text(path, json.dumps(described, indent=1))
        return
    change = first_difference(json.loads(path.read_text(encoding="utf-8")), described)
    if change:
        raise ConfigError(f"{path.parent} holds another search: {change}; give another run_dir, or those settings")


def _check_lines(path: Path) -> None:
    """Drop half a line that a kill has left; refuse any other damage."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            whole = not line.endswith(b"\n") or isinstance(json.loads(line), dict)
        except ValueError:
            whole = False
        if not whole:
            raise StudyError(f"{path}, line {number} is damaged; remove it and what follows, or give another run_dir")


def _try_again(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    repeated = {trial.user_attrs.get(AGAIN) for trial in trials}
    for trial in study.get_trials(deepcopy=False):
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if _cut_off(trial) and values and trial.number not in repeated:
            study.enqueue_trial(values, user_attrs={AGAIN: trial.number})


def _cut_off(trial: FrozenTrial) -> bool:
    """Whether it was stopped from outside: it failed and does not say why."""
    return trial.state == TrialState.FAIL and FAILURE not in trial.user_attrs
