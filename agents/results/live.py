"""Goal (g): the same bursts on live vLLM, from runs of `scripts.live_benefit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.json_file import read_json
from agents.results.config import ResultsConfig
from agents.results.effects import Effect, Strata, cell_of, effect
from agents.results.goals import NOT_WORSE, GoalRow, gained
from agents.results.sections import SHOWN
from agents.run_dir import RunDir
from agents.schema import ConfigError
from andes_engine.report.grid import Cell, Column, Grid

FILE = "live.json"
KEYS = ("scheduler", "burst", "qoe_mean", "qoe_p10", "tokens_per_s")
"""Of each run; recorded in this order, without the keys."""


def live_results(config: ResultsConfig) -> dict[str, Any]:
    """What runs of `scripts.live_benefit` found, a part for each, or what is recorded; empty if there is nothing.

    Raises:
        ConfigError: If a directory is not of such a run.
    """
    if config.live is None:
        return read_json(Path(config.recorded) / FILE) if config.recorded else {}
    return {"parts": [_part(Path(given)) for given in config.live]}


def _part(run_dir: Path) -> dict[str, Any]:
    runs = read_json(run_dir / "results.json").get("runs")
    if not isinstance(runs, list) or not all(isinstance(run, Mapping) and set(KEYS) <= set(run) for run in runs):
        raise ConfigError(f"live = {run_dir}: no results of scripts.live_benefit; give its run directory")
    asked = RunDir.open(run_dir).config()["live"]
    return {
        "commit": read_json(run_dir / "versions.json")["commit"],
        "load": asked["load"],
        "duration_s": asked["duration_s"],
        "runs": [[_short(run[key]) for key in KEYS] for run in runs],
    }


def _runs(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(KEYS, values, strict=True)) for values in part["runs"]]


def _short(value: str | float) -> str | float:
    return value if isinstance(value, str) else float(f"{value:.5g}")


def live_goals(results: Mapping[str, Any], policies: Sequence[str], seed: int) -> list[GoalRow]:
    """The policy above default Andes, and not below tuned Andes, for bursts of each length.

    Args:
        results: Of `live_results`.
        policies: Names that the policy may have there, the first that took part counts.
        seed: Of the bootstrap.
    """
    parts = results.get("parts", [])
    lengths_s = dict.fromkeys(part["duration_s"] for part in parts)
    return [row for length_s in lengths_s or (None,) for row in _goals(parts, length_s, policies, seed)]


def _goals(
    parts: Sequence[Mapping[str, Any]], length_s: float | None, policies: Sequence[str], seed: int
) -> list[GoalRow]:
    runs, who = _last_with(policies, [_runs(part) for part in parts if part["duration_s"] == length_s])
    count = f"{len({run['burst'] for run in runs})} " if who else ""
    bursts = f", {count}bursts of {length_s:g} s" if length_s is not None else ""
    rows = []
    for reference, goal, least in (("andes", "above", 1e-9), ("tuned_andes", "not worse", NOT_WORSE)):
        found = _difference(runs, who, reference, "qoe_mean", seed) if who else None
        what = f"live vLLM on a CPU{bursts}: policy − {reference}, mean QoE"
        rows.append(GoalRow("g", what, goal, found, gained(found, least)))
    return rows


def _last_with(
    names: Sequence[str], parts: Sequence[Sequence[Mapping[str, Any]]]
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """The last runs in which one of these names took part, and the first such name."""
    for runs in reversed(parts):
        present = {run["scheduler"] for run in runs}
        if who := next((name for name in names if name in present), None):
            return runs, who
    return (), None


def live_grids(results: Mapping[str, Any], seed: int) -> tuple[Grid, ...]:
    """Everybody on live vLLM, and against default Andes: a table for bursts of each length."""
    return tuple(_grid(part, seed) for part in results.get("parts", []))


def _grid(part: Mapping[str, Any], seed: int) -> Grid:
    runs = _runs(part)
    labels = {key: label for key, label in SHOWN.items() if key in KEYS}
    columns = [Column("who", numeric=False), *(Column(label) for label, _ in labels.values()), Column("QoE over andes")]
    rows = []
    for name in dict.fromkeys(run["scheduler"] for run in runs):
        own = [effect(_bursts(runs, name, key), seed=seed) for key in labels]
        over = _difference(runs, name, "andes", "qoe_mean", seed) if name != "andes" else None
        cells = [cell_of(one, form) for one, (_, form) in zip(own, labels.values(), strict=True)]
        rows.append((Cell(name), *cells, cell_of(over)))
    title = f"Bursts of {part['duration_s']:g} s at {part['load']:g} times saturation, the same for all"
    return Grid(title, tuple(columns), tuple(rows), (f"At commit `{part['commit']}`.",))


def _bursts(runs: Sequence[Mapping[str, Any]], name: str, key: str) -> Strata:
    """Values burst by burst, in an order that is the same for everybody. Shape (1, bursts); repeats of a burst are averaged."""
    by_burst: dict[str, list[float]] = {}
    for run in runs:
        if run["scheduler"] == name:
            by_burst.setdefault(run["burst"], []).append(float(run[key]))
    return [np.array([[np.mean(values) for _, values in sorted(by_burst.items())]])] if by_burst else []


def _difference(runs: Sequence[Mapping[str, Any]], name: str, reference: str, key: str, seed: int) -> Effect | None:
    bursts = [{run["burst"] for run in runs if run["scheduler"] == who} for who in (name, reference)]
    if bursts[0] != bursts[1]:
        return None
    return effect(_bursts(runs, name, key), _bursts(runs, reference, key), seed=seed)
