"""RESULTS.md: generated, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.document import Section, write_page
from agents.results.capacity import capacity_grid
from agents.results.config import SIZES, ResultsConfig
from agents.results.curves import curves_section
from agents.results.evidence import Evidence
from agents.results.goals import RULE, GoalRow, Goals, goals_grid
from agents.results.hindsight import hindsight_grid
from agents.results.live import live_grids
from agents.results.measured import least_load
from agents.results.sections import ablation_section, overview, setting_section
from andes_engine.contender import marked
from andes_engine.report.grid import to_markdown

PAGE, RECORDS = "RESULTS.md", Path("docs") / "results"
TITLE = "What the policies are worth"
REFERENCES = ("best_static", "tuned_andes")
"""Whom the policy is set against in detail, the strongest first."""


def write_results(
    folder: Path, command: str, config: ResultsConfig, found: Evidence, goals: Goals, took_s: float
) -> Path:
    """Write the page and its figures; returns the page."""
    head = [
        f"Written by `{command}`; do not edit. {_who(found)} {_how(config)}",
        "## Goals",
        f"{_counts(goals)} {RULE}",
        to_markdown(goals_grid(goals, config.notes)),
    ]
    return write_page(folder, PAGE, RECORDS, TITLE, head, _sections(config, found), took_s)


def _sections(config: ResultsConfig, found: Evidence) -> list[Section]:
    seed, measured = config.seed, found.measured
    labels = {arm.name: marked(arm.name, arm.clairvoyant) for arm in found.arms}
    against = [name for name in dict.fromkeys((found.policy, REFERENCES[0])) if name]
    sections = [
        overview(measured, labels, config.overload, seed),
        setting_section(measured, found.policy, REFERENCES, seed),
        ablation_section(measured, config.ablations, against, config.overload, seed),
        _hindsight(config, found),
        _capacity(config, found),
        _live(config, found),
        curves_section(found.curves),
    ]
    return [section for section in sections if section is not None]


def _hindsight(config: ResultsConfig, found: Evidence) -> Section | None:
    grids = tuple(
        hindsight_grid(
            found.measured, suite, made, found.policy, REFERENCES[0], config.seed, least_load(suite, config.overload)
        )
        for suite, made in found.hindsight.items()
        if made
    )
    said = (
        f"Fixed settings to choose from: {', '.join(found.fixed)}.",
        f"A part of a scenario holds the requests that arrive in one of {config.segments} equal spans of time. Its QoE is taken "
        "from a run with one setting throughout, so a choice for each part is a bound, not a schedule that runs.",
    )
    return Section("What choosing in hindsight would bring", said, grids) if grids else None


def _capacity(config: ResultsConfig, found: Evidence) -> Section:
    curves, not_found = found.capacity
    grid = capacity_grid(curves, SIZES[config.size].search(config.capacity), config.seed)
    engine = f"On {config.capacity_engine.name}."
    return Section("Capacity", (engine, *not_found), (grid,) if grid.rows else ())


def _live(config: ResultsConfig, found: Evidence) -> Section | None:
    grids = live_grids(found.live, config.seed)
    return Section("Live vLLM", ("By `scripts.live_benefit`.",), grids) if grids else None


def _who(found: Evidence) -> str:
    if not found.policies:
        return "The zoo is empty, so nothing is said of a policy yet."
    told = " and ".join(f"`{policy}` ({_seeds(found, policy)} training seeds)" for policy in found.policies)
    return f"The goals are about {told}; none was chosen by these results."


def _seeds(found: Evidence, policy: str) -> int:
    seeds = (len(one.values["qoe_mean"]) for (_, arm), one in found.measured.found.items() if arm == policy)
    return max(seeds, default=0)


def _how(config: ResultsConfig) -> str:
    return (
        "Simulated, every run drained, on held-out seeds; QoE is the headline form of METRICS.md. The stationary overload grid "
        f"is what suite `held_out` has at loads of {config.overload:g} and more, in shares of what FCFS saturates at; suite "
        "`shifting` counts as a whole. Differences are paired by workload; 95 % intervals by bootstrap over training seeds and "
        "workloads, every setting and load weighing the same. Rows lie in docs/results; `rerun=none` writes this page from them."
    )


def _counts(goals: Goals) -> str:
    told = "; ".join(f"{policy} {_count(rows)}" for policy, rows in goals.items())
    return f"Of {len(next(iter(goals.values())))} lines: {told}."


def _count(rows: Sequence[GoalRow]) -> str:
    verdicts = [row.verdict for row in rows]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
