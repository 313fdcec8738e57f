"""What choosing the best fixed setting afterwards would have brought: for each scenario, or for each part of it.

A setting is chosen on half of the workloads and judged on the other half, and the other way round: honest. Chosen and judged on
the same workloads it is an optimistic bound. A part of a scenario holds the requests that arrive in one span of time; its QoE
is taken from a run that had one setting throughout, so a choice for each part is a bound of thought, not a schedule that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.results.effects import cell_of, effect
from agents.results.measured import FloatArray, Measured
from andes_engine.report.grid import Cell, Column, Grid


class Hindsight(NamedTuple):
    """A choice in hindsight: how it was made, and its mean QoE in each stratum. Shape (1, workloads) each."""

    name: str
    honest: bool
    values: list[FloatArray]


def choices(measured: Measured, suite: str, fixed: Sequence[str], least_load: float = 0.0) -> list[Hindsight]:
    """All four ways to choose; those for each part only where they were kept, honest ones only with two workloads everywhere.

    Args:
        measured: What came out.
        suite: Where.
        fixed: The settings to choose from.
        least_load: Loads below it do not count.
    """
    taking_part = [arm for arm in fixed if (suite, arm) in measured.found]
    if not taking_part:
        return []
    found = [measured.found[suite, arm] for arm in taking_part]
    whole = np.stack([one.values["qoe_mean"][0] for one in found])[:, :, None]
    parts = [one.segments[0] for one in found if one.segments is not None]
    ways = [("each scenario", whole)]
    if len(parts) == len(found):
        ways.append(("each part of it", np.stack(parts)))
    rows = measured.suites[suite].strata(least_load).values()
    halves = all(len(numbers) > 1 for numbers in rows)
    return [
        Hindsight(name, honest, [chosen(values[:, numbers], honest) for numbers in rows])
        for name, values in ways
        for honest in (True, False)
        if halves or not honest
    ]


def chosen(values: FloatArray, honest: bool) -> FloatArray:
    """Mean QoE of the best setting of each part, workload by workload.

    Args:
        values: Shape (settings, workloads of one scenario, parts); parts add up.
        honest: Whether the setting of a workload is chosen on the other half of them (every other one).

    Returns:
        Shape (1, workloads).
    """
    count = values.shape[1]
    half = np.arange(count) % 2 == 0
    groups = [(half, ~half), (~half, half)] if honest else [(np.ones(count, bool), np.ones(count, bool))]
    found = np.empty(count)
    for judged, seen in groups:
        best = values[:, seen].mean(axis=1).argmax(axis=0)
        found[judged] = np.take_along_axis(values[:, judged], best[None, None, :], axis=0)[0].sum(axis=1)
    return found[None]


def hindsight_grid(
    measured: Measured,
    suite: str,
    made: Sequence[Hindsight],
    policy: str | None,
    reference: str,
    seed: int = 0,
    least_load: float = 0.0,
) -> Grid:
    """Each way to choose, and the policy, against the best fixed setting of all scenarios."""
    theirs = measured.strata(suite, reference, "qoe_mean", least_load)
    columns = [Column("chosen in hindsight for", numeric=False), Column("chosen on", numeric=False)]
    columns += [Column(f"mean QoE over {reference}"), Column("policy over the choice")]
    ours = measured.strata(suite, policy, "qoe_mean", least_load) if policy else []
    rows = [
        (
            Cell(entry.name),
            Cell("the other half of the workloads" if entry.honest else "the same workloads (optimistic)"),
            cell_of(effect(entry.values, theirs, seed=seed)),
            cell_of(effect(ours, entry.values, seed=seed)),
        )
        for entry in made
    ]
    rows.append((Cell(policy or "policy"), Cell("–"), cell_of(effect(ours, theirs, seed=seed)), Cell()))
    loads = f", loads >= {least_load:g}" if least_load else ""
    return Grid(f"Choices in hindsight, suite {suite}{loads}", tuple(columns), tuple(rows))
