"""The trials of a search, in this process or side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from agents.pool import processes
from agents.suite import Setting
from agents.tune_objective import Course, NotFiniteError, ObjectiveSettings, Terms, mean_terms
from agents.tune_space import SearchSettings
from agents.tune_study import FAILURE, StudySettings, finished, journal_errors, load_study, make_pruner, make_sampler
from andes_engine.contender import Contender
from andes_engine.cores import available_cores
from andes_engine.errors import AndesError

TERMS = "terms"
"""Attribute of a trial: the mean of each term of its objective."""

POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a process needs to take part in a search.

    Args:
        run_dir: Folder of the study.
        space: What may be chosen.
        settings: Where the training workloads come from.
        reference: What candidates are measured against.
        objective: What is made large.
        study: How to search.
        seed: Of the order of workloads and of the sampler.
    """

    run_dir: Path
    space: SearchSettings
    settings: tuple[Setting, ...]
    reference: Contender
    objective: ObjectiveSettings
    study: StudySettings
    seed: int


def run_trials(plan: Plan, progress: bool = False) -> None:
    """Try settings until there are enough or the time is over; `study_folder` must be open.

    Raises:
        AndesError: If the training workloads cannot be made.
        StudyError: If the journal cannot be written.
    """
    started_s = time.monotonic()
    study = load_study(plan.run_dir)
    count = plan.study.workers or available_cores()
    with tqdm(total=plan.study.trials, desc="trials", disable=None if progress else True) as bar:

        def show() -> None:
            ended = finished(study)
            bar.n = len(ended)
            values = [trial.value for trial in ended if trial.state == TrialState.COMPLETE]
            best = max((value for value in values if value is not None), default=None)
            bar.set_postfix({} if best is None else {"best": f"{best:+.4f}"})

        show()
        if count == 1:
            _work(plan, 0, started_s, show)
        else:
            _side_by_side(plan, count, show)


def _side_by_side(plan: Plan, count: int, show: Callable[[], None]) -> None:
    with processes(count) as pool:
        left = {pool.submit(_work, plan, worker) for worker in range(count)}
        while left:
            done, left = wait(left, timeout=POLL_S)
            for future in done:
                future.result()
            show()


def _work(plan: Plan, worker: int, started_s: float | None = None, show: Callable[[], None] = lambda: None) -> None:
    """Trials of one process."""
    started_s = time.monotonic() if started_s is None else started_s
    before = load_study(plan.run_dir)
    if len(finished(before)) >= plan.study.trials:
        return
    # another seed at every start, or one that goes on would draw what was drawn before
    entropy = np.random.SeedSequence([plan.seed, worker, len(before.get_trials(deepcopy=False))])
    sampler = make_sampler(plan.study, int(entropy.generate_state(1)[0]))
    study = load_study(plan.run_dir, sampler, make_pruner(plan.study))
    course = Course(plan.settings, plan.reference, plan.seed)

    def after(study: optuna.Study, trial: FrozenTrial) -> None:
        show()
        if len(finished(study)) >= plan.study.trials:
            study.stop()

    left_s = None if plan.study.minutes is None else plan.study.minutes * 60.0 - (time.monotonic() - started_s)
    with journal_errors(plan.run_dir):
        study.optimize(
            lambda trial: _value(plan, course, trial), timeout=left_s, callbacks=[after], catch=(AndesError,)
        )


def _value(plan: Plan, course: Course, trial: optuna.Trial) -> float:
    """One setting through the training workloads; stopped early if it is hopeless."""
    try:
        return _tried(plan, course, trial)
    except AndesError as error:
        trial.set_user_attr(FAILURE, str(error))
        raise


def _tried(plan: Plan, course: Course, trial: optuna.Trial) -> float:
    contender = plan.space.suggest(trial).contender
    seen: list[Terms] = []
    scores: list[float] = []
    for step, terms in enumerate(course.terms(contender)):
        score = plan.objective.score(terms)
        if not np.isfinite(score):
            raise NotFiniteError(f"the objective is {score} in workload {step}: {asdict(terms)}")
        seen.append(terms)
        scores.append(score)
        # the paired rule compares trials workload by workload, the median rule their running means
        trial.report(score if plan.study.pruner == "paired" else float(np.mean(scores)), step)
        if step + 1 < len(course) and trial.should_prune():
            trial.set_user_attr(TERMS, mean_terms(seen))
            raise optuna.TrialPruned
    trial.set_user_attr(TERMS, mean_terms(seen))
    return plan.objective.total(scores)
