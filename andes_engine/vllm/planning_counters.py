"""What planning did inside vLLM; every fallback is among the counts."""

from dataclasses import dataclass


@dataclass(slots=True)
class PlanningCounters:
    """What planning did since the planner was set."""

    plans: int = 0
    failures: int = 0
    """Exceptions of the planner; each such step ran in vLLM's order."""
    ignored: int = 0
    """Single decisions that could not be followed."""
    forced_admissions: int = 0
    preemptions: int = 0
    planned_preemptions: int = 0
    pauses: int = 0
    kept: int = 0
    """Preempted requests whose KV cache was kept in host memory."""
    host_full: int = 0
    """Preempted requests that host memory had no room for; they are recomputed."""

    @property
    def engine_preemptions(self) -> int:
        """Preemptions vLLM made itself because blocks ran out."""
        return self.preemptions - self.planned_preemptions
