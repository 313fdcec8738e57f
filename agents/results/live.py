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
        "runs": [{key: _short(run[key]) for key in KEYS} for run in runs],
    }


def _short(value: str | float) -> str | float:
    return value if isinstance(value, str) else float(f"{value:.5g}")


def live_goals(results: Mapping[str, Any], policies: Sequence[str], seed: int) -> list[GoalRow]:
    """The policy above default Andes, and not below tuned Andes, for bursts of each length.

    Args:
        results: Of `live_results`.
        policies: Names that the policy may have there, the first that took part counts.
        seed: Of the bootstrap.
    """
    return [row for part in results.get("parts", [{}]) for row in _goals(part, policies, seed)]


def _goals(part: Mapping[str, Any], policies: Sequence[str], seed: int) -> list[GoalRow]:
    runs = part.get("runs", [])
    who = next((name for name in policies if any(run["scheduler"] == name for run in runs)), None)
    rows = []
    for reference, goal, least in (("andes", "above", 1e-9), ("tuned_andes", "not worse", NOT_WORSE)):
        found = _difference(runs, who, reference, "qoe_mean", seed) if who else None
        bursts = f", {found.workloads} bursts of {part['duration_s']:g} s" if found else ""
        what = f"live vLLM on a CPU{bursts}: {who or 'policy'} − {reference}, mean QoE"
        rows.append(GoalRow("g", what, goal, found, gained(found, least)))
    return rows


def live_grids(results: Mapping[str, Any], seed: int) -> tuple[Grid, ...]:
    """Everybody on live vLLM, and against default Andes: a table for bursts of each length."""
    return tuple(_grid(part, seed) for part in results.get("parts", []))


def _grid(part: Mapping[str, Any], seed: int) -> Grid:
    runs = part["runs"]
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
