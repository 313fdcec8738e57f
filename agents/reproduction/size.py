"""How much is run: the full reproduction, or a smoke test of every part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents.capacity_search import Search
from agents.config import WorkloadSettings
from agents.suite import Setting


@dataclass(frozen=True, slots=True)
class Size:
    """Scale of a reproduction.

    Args:
        share: Of the duration of every workload.
        seeds: Workloads at most in each setting of the paper's suite.
        statement_seeds: Workloads of each statement.
        every: One setting of so many is kept.
    """

    share: float
    seeds: int
    statement_seeds: int
    every: int = 1

    def of(self, settings: list[Setting]) -> list[Setting]:
        """The settings at this scale."""
        return [self.scaled(setting) for setting in settings[:: self.every]]

    def scaled(self, setting: Setting) -> Setting:
        """One setting at this scale."""
        return replace(setting, workload=self._traffic(setting.workload), seeds=min(setting.seeds, self.seeds))

    def search(self, search: Search) -> Search:
        """The capacity search at this scale."""
        return search if self.share == 1.0 else replace(search, seeds=1, scan=3, tolerance=0.1, high=4.0 * search.high)

    def _traffic(self, workload: WorkloadSettings) -> WorkloadSettings:
        if self.share == 1.0 or workload.duration_s is None:
            return workload
        arrivals = workload.arrivals
        if isinstance(arrivals, Mapping) and arrivals.get("kind") == "cyclic_burst":
            arrivals = {**arrivals, "period_s": self.share * float(arrivals.get("period_s", 1200.0))}
        return replace(workload, arrivals=arrivals, duration_s=self.share * workload.duration_s)


SIZES = {"full": Size(1.0, 2, 3), "smoke": Size(0.1, 1, 1, every=5)}
