"""A study as table, figure and record: what was tried, what came out, which knobs mattered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from agents.run_dir import made_with
from agents.tune_search import TERMS
from agents.tune_space import SearchSettings
from agents.tune_study import FAILURE, best_trials, counts, finished
from andes_engine.report.grid import Cell, Column, Grid
from andes_engine.report.style import GREY, WIDTH_IN, house_style

TOP = 10
"""Trials whose knobs are set against those of the others."""

SHOWN, RECORDED = 5, 1
"""Trials in the table, and those that are recorded in full."""


def study_record(study: optuna.Study, space: SearchSettings) -> dict[str, Any]:
    """The study in a form small enough for a repository."""
    ended, best = finished(study), best_trials(study)
    failures = [trial.user_attrs[FAILURE] for trial in ended if FAILURE in trial.user_attrs]
    return {
        "search": space,
        "made_with": made_with(),
        "trials": counts(study),
        "failures": failures[:SHOWN],
        "importance": importance(study),
        "top": [_described(trial, space) for trial in best[:RECORDED]],
        "history": _better_than_before(best),
    }


def _better_than_before(complete: Sequence[FrozenTrial]) -> dict[int, float]:
    """Value of each trial that was better than all before it, by its number."""
    found: dict[int, float] = {}
    for trial in sorted(complete, key=lambda trial: trial.number):
        if trial.value is not None and trial.value > max(found.values(), default=-np.inf):
            found[trial.number] = trial.value
    return {number: round(value, 4) for number, value in found.items()}


def importance(study: optuna.Study) -> dict[str, float]:
    """Which of what moved tells the best tenth of trials from the others (PED-ANOVA, Watanabe et al. 2023); sums to 1.

    Empty where there are too few complete trials to tell.
    """
    if len(best_trials(study)) < 2 * TOP:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: round(share, 4) for name, share in found.items()}


def trials_grid(best: Sequence[FrozenTrial], space: SearchSettings) -> Grid:
    """The best trials, one in a column, with what they chose and what their objective is made of."""
    shown = best[:SHOWN]
    columns = (Column("", numeric=False), *(Column(f"trial {trial.number}") for trial in shown))
    names = [*space.knobs, *space.choices]
    rows = [
        _row("objective", [trial.value for trial in shown]),
        *(_row(name, [trial.user_attrs[TERMS][name] for trial in shown]) for name in shown[0].user_attrs[TERMS]),
        *(_row(name, [trial.params[name] for trial in shown]) for name in names),
    ]
    return Grid(f"Best trials of search {space.name}: differences to the reference", columns, tuple(rows))


def history_figure(trials: Sequence[FrozenTrial]) -> Figure:
    """Objective of every complete trial, and the best so far."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    numbers, values = [trial.number for trial in complete], np.array([trial.value for trial in complete], np.float64)
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    with house_style():
        figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.scatter(numbers, values, s=12, color=GREY, label="complete trial")
        axes.step(numbers, np.maximum.accumulate(values), where="post", label="best so far")
        axes.axhline(0.0, color=GREY, linewidth=0.8, linestyle=":")
        axes.set(
            xlabel=f"trial ({pruned} stopped early are not shown)", ylabel="objective, difference to the reference"
        )
        axes.legend(loc="lower right", frameon=False)
    return figure


def _row(name: str, values: Sequence[Any]) -> tuple[Cell, ...]:
    return Cell(name), *(Cell(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in values)


def _described(trial: FrozenTrial, space: SearchSettings) -> dict[str, Any]:
    setting = space.setting(trial.params)
    chosen = {"scheduler": setting.scheduler, "lengths": setting.lengths}
    return {
        "trial": trial.number,
        "value": None if trial.value is None else round(trial.value, 5),
        "terms": trial.user_attrs[TERMS],
        **chosen,
        "knobs": setting.knobs,
    }
