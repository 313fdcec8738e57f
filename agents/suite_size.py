"""How much of a suite is run: all of it, or a smoke test of every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agents.capacity_search import Search
from agents.config import WorkloadSettings
from agents.suite import Setting

_SHORTEST_S = 3.0
"""Less than this of a workload may hold no request."""


@dataclass(frozen=True, slots=True)
class Size:
    """Scale of what is run.

    Args:
        share: Of the duration of every workload, but not less than `_SHORTEST_S`.
        seeds: Workloads at most in each setting of a suite.
        statement_seeds: Workloads of each statement of the reproduction.
        every: One setting of so many is kept.
    """

    share: float
    seeds: int
    statement_seeds: int = 1
    every: int = 1

    def of(self, settings: Sequence[Setting]) -> list[Setting]:
        """The settings at this scale."""
        return [self.scaled(setting) for setting in settings[:: self.every]]

    def scaled(self, setting: Setting) -> Setting:
        """One setting at this scale."""
        return replace(setting, workload=self.traffic(setting.workload), seeds=min(setting.seeds, self.seeds))

    def search(self, search: Search) -> Search:
        """The capacity search at this scale."""
        return search if self.share == 1.0 else replace(search, seeds=1, scan=3, tolerance=0.1, high=4.0 * search.high)

    def traffic(self, workload: WorkloadSettings) -> WorkloadSettings:
        """Traffic at this scale."""
        if self.share == 1.0 or workload.duration_s is None:
            return workload
        arrivals = workload.arrivals
        if isinstance(arrivals, Mapping) and arrivals.get("kind") == "cyclic_burst":
            arrivals = {**arrivals, "period_s": self.share * float(arrivals.get("period_s", 1200.0))}
        duration_s = max(self.share * workload.duration_s, min(workload.duration_s, _SHORTEST_S))
        return replace(workload, arrivals=arrivals, duration_s=duration_s)
