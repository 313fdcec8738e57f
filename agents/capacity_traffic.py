"""The same requests at every load: what makes two loads of a capacity search differ by the load alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from agents.build import held_out, is_replayed, spec_of
from agents.config import WorkloadSettings
from andes_engine.engine import EngineConfig
from andes_engine.workload import Workload
from andes_engine.workload.generate import saturation_rate
from andes_engine.workload.traffic import DEFAULT_DURATION_S


@dataclass(frozen=True, slots=True)
class CommonTraffic:
    """Held-out workloads at any load up to a highest one, made of the same requests.

    Drawn for a fixed time, traffic at a higher load has more requests, and drawing more changes their output lengths. So as
    many as the highest load needs are drawn at every load, and those that arrive in time are kept: a lower load has the first
    requests of a higher one. Three kinds are left as they are: a trace, which is stretched; conversations, whose follow-ups
    come in their own time, and segments, which have their own times, so that at another load their requests differ.

    Args:
        engine: The engine; load 1 is what FCFS saturates at on it.
        settings: Traffic to draw.
        seeds: Workloads at each load.
        end_s: Arrivals from here on are left out, s; infinite to keep all.
    """

    engine: EngineConfig
    settings: WorkloadSettings
    seeds: int
    end_s: float = math.inf

    @classmethod
    def up_to(cls, high: float, engine: EngineConfig, settings: WorkloadSettings, seeds: int) -> CommonTraffic:
        """Traffic for loads up to `high`."""
        if is_replayed(settings) or settings.requests or settings.multi_round is not None or settings.segments:
            return cls(engine, settings, seeds)
        end_s = settings.duration_s or DEFAULT_DURATION_S
        count = math.ceil(1.1 * high * saturation_rate(engine, spec_of(settings)) * end_s) + 10
        while True:
            enough = replace(settings, duration_s=None, requests=count)
            if all(workload.duration_s >= end_s for workload in held_out(engine, enough, high, seeds)):
                return cls(engine, enough, seeds, end_s)
            count *= 2

    def at(self, load: float) -> list[Workload]:
        """The workloads at one load, one for each seed.

        Raises:
            InvalidWorkloadError: If no request arrives in the time.
        """
        drawn = held_out(self.engine, self.settings, load, self.seeds)
        return drawn if math.isinf(self.end_s) else [workload.between(0.0, self.end_s) for workload in drawn]
