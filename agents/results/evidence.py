"""Everything the page says comes from here: rows of the suites, capacities, live bursts and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.json_file import write_json
from agents.results.arms import Arm, arms_of, policies_of
from agents.results.capacity import FILE as CAPACITY
from agents.results.capacity import capacity_goals, search_curves
from agents.results.config import ResultsConfig
from agents.results.curves import FILE as CURVES
from agents.results.curves import Curves, training_curves
from agents.results.goals import BOUNDED, NOBODY, GoalRow, goal_rows, own_goal_rows
from agents.results.hindsight import Hindsight, choices
from agents.results.kept import ROWS, KeptRow, write_kept
from agents.results.kept_curves import Curves as CapacityCurves
from agents.results.kept_curves import write_curves
from agents.results.live import FILE as LIVE
from agents.results.live import live_goals, live_results
from agents.results.measure import measure
from agents.results.measured import Measured, least_load


@dataclass(frozen=True, slots=True)
class Evidence:
    """What came out.

    Args:
        arms: Who took part.
        policies: The arms the goals are about, see `ResultsConfig.policies`.
        measured: The suites.
        rows: The same as rows to record.
        hindsight: Choices among the fixed settings, by suite.
        capacity: QoE against load, and what could not be found.
        live: Bursts on live vLLM.
        curves: Learning curves.
    """

    arms: Sequence[Arm]
    policies: Sequence[str]
    measured: Measured
    rows: Sequence[KeptRow]
    hindsight: Mapping[str, Sequence[Hindsight]]
    capacity: tuple[CapacityCurves, list[str]]
    live: dict[str, Any]
    curves: Curves

    @property
    def policy(self) -> str | None:
        """The one that is shown in detail; None while there is none."""
        return self.policies[0] if self.policies else None

    @property
    def fixed(self) -> list[str]:
        """Fixed settings that a server could run."""
        return [arm.name for arm in self.arms if arm.fixed]

    @property
    def clairvoyant(self) -> list[str]:
        """Who knows true output lengths."""
        return [arm.name for arm in self.arms if arm.clairvoyant]


def gather(config: ResultsConfig) -> Evidence:
    """Run what is missing; what cannot work is refused before.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        RunFailedError: If a run fails; the finished ones are kept.
    """
    arms = arms_of(config)
    policies, curves, live = policies_of(config, arms), training_curves(config), live_results(config)
    measured, rows = measure(config, arms)
    fixed = [arm.name for arm in arms if arm.fixed]
    made = {suite: choices(measured, suite, fixed, least_load(suite, config.overload)) for suite in measured.suites}
    capacity = search_curves(config, [arm for arm in arms if arm.name in (*policies, *config.capacity_arms)])
    return Evidence(arms, policies, measured, rows, made, capacity, live, curves)


def goals_of(config: ResultsConfig, found: Evidence) -> dict[str, list[GoalRow]]:
    """All goals of each policy, in the order of their letters; while there is no policy, as those of `NOBODY`."""
    return {policy or NOBODY: _goals_of(config, found, policy) for policy in found.policies or (None,)}


def _goals_of(config: ResultsConfig, found: Evidence, policy: str | None) -> list[GoalRow]:
    live_names = [policy, *(one.contender.name for arm in found.arms if arm.name == policy for one in arm.members)]
    made = found.hindsight.get(BOUNDED, [])
    return [
        *goal_rows(found.measured, policy, config.overload, found.clairvoyant, made, config.seed),
        *capacity_goals(found.capacity[0], policy, config.capacity.target, config.seed),
        *live_goals(found.live, [name for name in live_names if name], config.seed),
        *own_goal_rows(found.measured, policy, config.seed),
    ]


def record(found: Evidence, folder: Path) -> None:
    """Write what the page can be made from again."""
    write_kept(found.rows, folder / ROWS)
    if found.capacity[0]:
        write_curves(found.capacity[0], folder / CAPACITY)
    for name, content in ((CURVES, found.curves), (LIVE, found.live)):
        if content:
            write_json(folder / name, content)
