"""What happened since the last time, turned into metrics and events: in batches, about once a second."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from andes_engine.knobs import KNOBS
from andes_engine.planner import Planner
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.service.events import tell
from andes_engine.service.metrics import Exporter

QUANTILES = (0.1, 0.5, 0.9)


class Telemetry:
    """Remembers what was reported, so that only differences are.

    Args:
        planner: Whose numbers to report.
        exporter: Where to; None for events only.
    """

    def __init__(self, planner: Planner, exporter: Exporter | None) -> None:
        self._planner = planner
        self._exporter = exporter
        self._seen: dict[tuple[str, ...], float] = {}
        self._knobs: np.ndarray | None = None
        self._policy: tuple[str, str] | None = None
        self._decision_s: list[float] = []

    def planned(self, seconds: float) -> None:
        """A plan was made and applied in this time."""
        self._decision_s.append(seconds)

    def report(self, now_s: float, counters: Any, others: dict[tuple[str, ...], float]) -> None:
        """Report everything since the last time.

        Args:
            now_s: Engine clock, s.
            counters: The scheduler's `PlanningCounters`.
            others: Further cumulative counts by metric name and label.
        """
        try:
            counts = {**scheduler_counts(counters), **others}
            counts["andes_fallbacks", "bad_expectation"] = self._planner.bad_expectations
            self._count(counts)
            self.report_policy()
            self._knob_changes()
            if self._exporter is not None:
                self._observe(self._exporter, now_s)
        finally:  # or they would pile up where reporting fails
            self._decision_s.clear()
            self._planner.requests.finished_qoe.clear()

    def report_policy(self) -> None:
        """Report what the policy in charge has done; once more before another takes its place."""
        guard = self._planner.knob_source
        if not isinstance(guard, GuardedPolicy):
            self._in_charge(("none", ""))
            return
        self._in_charge((guard.bundle.name, guard.version))
        mine = str(id(guard))  # a new guard counts from zero
        self._count({("andes_policy_decisions",): guard.decisions}, mine)
        for cause, times in guard.fallbacks.items():
            self._count({("andes_fallbacks", "policy_" + cause.replace(" ", "_")): times}, mine)

    def forget_policy(self, guard: object) -> None:
        """A policy is gone; what it did has been reported."""
        self._seen = {key: value for key, value in self._seen.items() if key[0] != str(id(guard))}

    def _count(self, counts: dict[tuple[str, ...], float], owner: str = "") -> None:
        for key, value in counts.items():
            new = value - self._seen.get((owner, *key), 0)
            if new < 0:  # counted from zero again, since another planner took over
                new = value
            self._seen[owner, *key] = value
            if new and key[0] == "andes_fallbacks":
                tell("fallback", logging.DEBUG, cause=key[1], times=int(new))  # whoever fell back logs its first loudly
            if self._exporter is not None and (new or value == 0):
                self._exporter.count(key[0], new, *key[1:])

    def _in_charge(self, policy: tuple[str, str]) -> None:
        if policy == self._policy:
            return
        if self._exporter is not None:
            if self._policy is not None:
                self._exporter.set("andes_policy_info", 0, *self._policy)
            self._exporter.set("andes_policy_info", 1, *policy)
        self._policy = policy

    def _knob_changes(self) -> None:
        now = np.array(self._planner.knobs)
        changed = np.arange(len(now)) if self._knobs is None else np.flatnonzero(now != self._knobs)
        for index in changed.tolist():
            if self._exporter is not None:
                self._exporter.set("andes_knob_value", float(now[index]), KNOBS[index].name, KNOBS[index].unit)
        if self._knobs is not None and len(changed):
            tell("knobs_changed", logging.DEBUG, **{KNOBS[index].name: float(now[index]) for index in changed.tolist()})
        self._knobs = now

    def _observe(self, exporter: Exporter, now_s: float) -> None:
        for seconds in self._decision_s:
            exporter.observe("andes_decision_duration_seconds", seconds)
        for qoe in self._planner.requests.finished_qoe:
            exporter.observe("andes_request_qoe_ratio", qoe)
        exporter.set("andes_live_requests", len(self._planner.requests.table))
        for state, slack_s in zip(("running", "waiting"), self._planner.requests.slack_s(now_s), strict=True):
            for quantile, value in _quantiles(slack_s):
                exporter.set("andes_slack_seconds", value, state, f"{quantile:g}")


def _quantiles(values: np.ndarray) -> Iterator[tuple[float, float]]:
    """NaN where there is nobody: Prometheus draws no line then."""
    found = np.quantile(values, QUANTILES) if len(values) else np.full(len(QUANTILES), np.nan)
    yield from zip(QUANTILES, found.tolist(), strict=True)


def scheduler_counts(counters: Any) -> dict[tuple[str, ...], float]:
    """Cumulative counts of a scheduler's `PlanningCounters`, by metric name and label."""
    return {
        ("andes_preemptions", "planned"): counters.planned_preemptions,
        ("andes_preemptions", "engine"): counters.engine_preemptions,
        ("andes_kept_preemptions",): counters.kept,
        ("andes_pauses",): counters.pauses,
        ("andes_plans",): counters.plans,
        ("andes_fallbacks", "planner_failure"): counters.failures,
        ("andes_fallbacks", "ignored_decision"): counters.ignored,
        ("andes_fallbacks", "forced_admission"): counters.forced_admissions,
        ("andes_fallbacks", "host_memory_full"): counters.host_full,
    }
