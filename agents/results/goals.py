"""The goals: what is to be reached against whom, what came out, and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agents.results.effects import Effect, closed, difference, effect
from agents.results.hindsight import Hindsight
from agents.results.measured import STATIONARY, Measured, least_load
from andes_engine.report.grid import Cell, Column, Grid

Verdict = Literal["met", "not met", "no interval", "not measured"]

RULE = (
    "A gain is met when the estimate reaches the goal and its interval excludes zero (a ratio: one); 'not worse' is met unless "
    "the whole interval lies on the worse side."
)
NOT_WORSE = 0.0
Goals = Mapping[str, Sequence["GoalRow"]]
"""The goals of each policy: the same ones, in the same order."""
NOBODY = "measured"
"""Title of the column while there is no policy."""


@dataclass(frozen=True, slots=True)
class GoalRow:
    """One line of the table of goals.

    Args:
        key: Letter of the goal.
        what: What is compared, where and in what.
        goal: What is to be reached.
        found: What came out; None where it was not measured.
        verdict: Whether it is reached.
        form: Format of the number.
    """

    key: str
    what: str
    goal: str
    found: Effect | None
    verdict: Verdict
    form: str = "+.3f"

    @property
    def measured(self) -> Cell:
        """The number with its interval."""
        return self.found.cell(self.form) if self.found else Cell("not measured")


@dataclass(frozen=True, slots=True)
class Aim:
    """A goal about a paired difference in a suite.

    Args:
        key: Its letter.
        reference: Arm to beat.
        suite: Where.
        metric: In what.
        label: The metric in words.
        least: Gain to reach in the metric's own direction; `NOT_WORSE` for no loss.
        sign: 1 where more is better, else -1.
    """

    key: str
    reference: str
    suite: str
    metric: str
    label: str
    least: float
    sign: int = 1


AIMS = (
    Aim("a", "andes", "held_out", "qoe_mean", "mean QoE", 0.10),
    Aim("a", "andes", "held_out", "qoe_p10", "QoE p10", 0.25),
    Aim("b", "tuned_andes", "held_out", "qoe_mean", "mean QoE", 0.025),
    Aim("b", "tuned_andes", "held_out", "qoe_p10", "QoE p10", 0.08),
    Aim("b", "tuned_andes", "held_out", "late_share", "share > 60 s late", 0.02, -1),
    Aim("b", "tuned_andes", "held_out", "tokens_per_s", "throughput, share", NOT_WORSE),
    Aim("c", "best_static", "held_out", "qoe_mean", "mean QoE", 0.010),
    Aim("c", "best_static", "held_out", "qoe_p10", "QoE p10", NOT_WORSE),
    Aim("c", "best_static", "held_out", "late_share", "share > 60 s late", NOT_WORSE, -1),
    Aim("d", "best_static", "shifting", "qoe_mean", "mean QoE", 0.020),
)
"""On `held_out` only loads of the overload grid count."""
OWN_AIMS = (
    Aim("h", "best_static", "surges", "qoe_mean", "mean QoE", 0.010),
    Aim("h", "best_static", "surges", "qoe_p10", "QoE p10", 0.020),
)
"""Beyond what was asked for: surges of every severity, where (c) and (d) have shown how little a policy can add elsewhere."""

BOUNDED = "shifting"
"""The suite whose goal is met as well by the proof that less was there to win."""
HINDSIGHT_GAIN = 0.020
GAP_CLOSED = 0.25


def goal_rows(
    measured: Measured,
    policy: str | None,
    overload: float,
    clairvoyant: Sequence[str],
    made: Sequence[Hindsight],
    seed: int,
) -> list[GoalRow]:
    """Goals (a) to (e): paired differences, the bound in hindsight, and the gap to whoever knows output lengths."""
    rows = [_aimed(measured, policy, aim, overload, seed) for aim in AIMS]
    return [*rows, _bound(measured, made, seed), _gap(measured, policy, overload, clairvoyant, seed)]


def own_goal_rows(measured: Measured, policy: str | None, seed: int) -> list[GoalRow]:
    """Goal (h), `OWN_AIMS`; none where its suite was not measured."""
    return [_aimed(measured, policy, aim, 0.0, seed) for aim in OWN_AIMS if aim.suite in measured.suites]


def gained(found: Effect | None, least: float, sign: int = 1, nothing: float = 0.0) -> Verdict:
    """Whether a gain is reached.

    Args:
        found: What came out.
        least: What is to be reached, counted from `nothing`, in the better direction; `NOT_WORSE` for no loss.
        sign: 1 where more is better, else -1.
        nothing: Where neither is better: 0 for a difference, 1 for a ratio.
    """
    if found is None:
        return "not measured"
    if not found.has_interval:
        return "no interval"
    better, worst, best = (sign * (value - nothing) for value in (found.value, found.low, found.high))
    worst, best = min(worst, best), max(worst, best)
    reached = best >= 0.0 if least == NOT_WORSE else better >= least and worst > 0.0
    return "met" if reached else "not met"


def goals_grid(rows: Goals, notes: Mapping[str, str]) -> Grid:
    """The table; a note stands in the first row of its goal, and without notes there is no column for them."""
    shown = (label for policy in rows for label in (policy, ""))
    labels = ("goal", "what", "to reach", *shown, *(("why",) if notes else ()))
    columns = tuple(Column(label, numeric=False) for label in labels)
    lines = list(zip(*rows.values(), strict=True))
    first = {line[0].key: place for place, line in reversed(list(enumerate(lines)))}
    cells = tuple(
        (
            Cell(f"({line[0].key})"),
            Cell(line[0].what),
            Cell(line[0].goal),
            *(cell for row in line for cell in (row.measured, Cell(row.verdict))),
            *((Cell(notes.get(line[0].key, "") if first[line[0].key] == place else ""),) if notes else ()),
        )
        for place, line in enumerate(lines)
    )
    return Grid("Goals", columns, cells)


def _aimed(measured: Measured, policy: str | None, aim: Aim, overload: float, seed: int) -> GoalRow:
    from_load = least_load(aim.suite, overload)
    found = difference(measured, aim.suite, policy, aim.reference, aim.metric, from_load, seed)
    where = "stationary overload" if aim.suite == STATIONARY else aim.suite
    goal = "not worse" if aim.least == NOT_WORSE else f"{aim.sign * aim.least:+.3f}"
    what = f"policy − {aim.reference}, {where}: {aim.label}"
    return GoalRow(aim.key, what, goal, found, gained(found, aim.least, aim.sign))


def _bound(measured: Measured, made: Sequence[Hindsight], seed: int) -> GoalRow:
    """The most that choosing among fixed settings could bring: below the goal, nobody who chooses among them can reach it."""
    theirs = measured.strata(BOUNDED, "best_static", "qoe_mean") if BOUNDED in measured.suites else []
    optimistic = [entry for entry in made if not entry.honest]
    found = effect(optimistic[-1].values, theirs, seed=seed) if optimistic else None
    verdict: Verdict = "not measured" if found is None else "met" if found.value < HINDSIGHT_GAIN else "not met"
    name = optimistic[-1].name if optimistic else "each part of it"
    what = f"or out of reach: best fixed setting for {name} − best_static, {BOUNDED}: mean QoE"
    return GoalRow("d", what, f"< {HINDSIGHT_GAIN:+.3f}", found, verdict)


def _gap(measured: Measured, policy: str | None, overload: float, clairvoyant: Sequence[str], seed: int) -> GoalRow:
    def values(arm: str) -> list:
        return measured.strata(STATIONARY, arm, "qoe_mean", overload) if STATIONARY in measured.suites else []

    gains = {arm: effect(values(arm), values("tuned_andes"), seed=seed) for arm in clairvoyant}
    known = {arm: gain.value for arm, gain in gains.items() if gain is not None}
    best = max(known, key=lambda arm: known[arm]) if known else None
    found = closed(values(policy), values("tuned_andes"), values(best), seed) if policy and best else None
    what = f"gap from tuned_andes to {best or 'the clairvoyant bound'}, stationary overload: share closed, mean QoE"
    return GoalRow("e", what, f"{GAP_CLOSED:.0%}", found, gained(found, GAP_CLOSED), ".0%")
