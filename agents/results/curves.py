"""Learning curves: validation QoE by decisions of every training seed, from the results of training runs."""

from __future__ import annotations

from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from agents.document import Section
from agents.json_file import read_json
from agents.results.config import ResultsConfig
from agents.run_dir import RunDir
from agents.schema import ConfigError
from andes_engine.report.figures import learning_curves
from andes_engine.report.html import ReportFigure

FILE = "curves.json"

_POINTS = 16
"""Points of a line; every seed is validated at steps of its own."""

_NEAR = 0.05
"""References farther below are not drawn, or nothing else could be told apart."""

Curves = dict[str, dict[str, Any]]
"""By name of the training and seed, `NAME seed S`: steps, QoE, and the QoE of the references."""


def training_curves(config: ResultsConfig) -> Curves:
    """Recorded curves, and those of the training runs given; a run's own replaces the recorded one.

    Raises:
        ConfigError: If a folder is no finished training run, or two have one name and seed.
    """
    curves: Curves = read_json(Path(config.recorded) / FILE) if config.recorded else {}
    fresh: Curves = {}
    for pattern in config.curves:
        folders = sorted(glob(pattern))
        if not folders:
            print(f"note: curves: '{pattern}' fits no training run here, so the recorded ones stand")
        for name, curve in map(_curve, map(Path, folders)):
            if name in fresh:
                raise ConfigError(
                    f"curves: two runs are called '{name}'; give each recipe a name (scripts.train name=...)"
                )
            fresh[name] = curve
    return dict(sorted((curves | fresh).items()))


def curves_section(curves: Curves) -> Section | None:
    """One panel with a line for each recipe: the median over its seeds, and their range."""
    if not curves:
        return None
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for key, curve in curves.items():
        by_name.setdefault(key.partition(" seed ")[0], []).append(curve)
    drawn = {name: _aligned(runs) for name, runs in by_name.items()}
    lowest = min(np.nanmin(qoe) for _, qoe in drawn.values())
    references = next(iter(curves.values()))["references"]
    references = {name: qoe for name, qoe in references.items() if qoe > lowest - _NEAR}
    seeds = ", ".join(f"{len(runs)} of {name}" for name, runs in by_name.items())
    caption = (
        "Mean QoE on the validation workloads by decisions trained; the median over training seeds, the band is their range. "
        f"Seeds: {seeds}."
    )
    return Section("Learning", (), (), (ReportFigure(learning_curves(drawn, references), "Learning curves", caption),))


def _curve(folder: Path) -> tuple[str, dict[str, Any]]:
    run = RunDir.open(folder)
    config, results = run.config(), read_json(folder / "results.json")
    if not results.get("curve"):
        raise ConfigError(f"{folder}: no results of a training run ({'curve'} is missing); let it finish")
    points = results["curve"]
    told = {"steps": [point["steps"] for point in points], "qoe": [round(point["qoe"], 4) for point in points]}
    references = {name: round(qoe, 4) for name, qoe in results["references"].items()}
    return f"{config['name']} seed {config['seed']}", {**told, "references": references}


def _aligned(runs: list[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps for all, and the QoE of each seed there, NaN before and after it was validated. Shapes (m,), (seeds, m)."""
    steps = np.array(sorted({step for run in runs for step in run["steps"]}), dtype=np.float64)
    if len(steps) > _POINTS:
        steps = np.linspace(steps[0], steps[-1], _POINTS)
    return steps, np.array([np.interp(steps, run["steps"], run["qoe"], np.nan, np.nan) for run in runs])
