"""Synthetic workloads: a specification, and the requests a seed makes of it.

Arrivals, lengths and readers draw from their own child of the seed, so changing one leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import SeedSequence

from andes_engine.engine import EngineConfig
from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.arrivals import ArrivalProcess
from andes_engine.workload.lengths import Lengths
from andes_engine.workload.readers import FIXED_TTFT, READING, ReaderMix, TtftExpectation
from andes_engine.workload.saturation import saturation_of
from andes_engine.workload.workload import Workload

DEFAULT_DURATION_S = 600.0
DEFAULT_LOAD = 1.0


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What traffic looks like, without its randomness. Build one from configuration with `spec.workload_spec`.

    Args:
        name: For records.
        arrivals: Arrival process.
        lengths: Prompt and output lengths.
        readers: Paces of the readers.
        ttft: When readers expect the first token.
        duration_s: Arrivals stop after this time, s. Give this or `requests`; neither means 600 s.
        requests: Number of requests.
        rate: Mean arrival rate, requests/s. Give this or `load`; neither means load 1.
        load: Mean arrival rate as a share of what FCFS saturates at on the engine (see `saturation_rate`).

    Raises:
        InvalidWorkloadError: If both of a pair are given, or a value is not positive.
    """

    name: str
    arrivals: ArrivalProcess
    lengths: Lengths
    readers: ReaderMix = READING
    ttft: TtftExpectation = FIXED_TTFT
    duration_s: float | None = None
    requests: int | None = None
    rate: float | None = None
    load: float | None = None

    def __post_init__(self) -> None:
        self._one_of("duration_s", "requests", DEFAULT_DURATION_S)
        self._one_of("load", "rate", DEFAULT_LOAD)
        for field in ("duration_s", "requests", "rate", "load"):
            value = getattr(self, field)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InvalidWorkloadError(f"workload '{self.name}': {field} = {value} must be a finite number > 0")

    def _one_of(self, field: str, other: str, default: float) -> None:
        if getattr(self, field) is not None and getattr(self, other) is not None:
            raise InvalidWorkloadError(f"workload '{self.name}': give {field} or {other}, not both")
        if getattr(self, field) is None and getattr(self, other) is None:
            object.__setattr__(self, field, default)


def generate(spec: WorkloadSpec, seed: int | SeedSequence, rate: float | None = None) -> Workload:
    """The requests that `seed` makes of `spec`; the same arguments always give the same workload.

    Args:
        spec: What traffic looks like.
        seed: Entropy; a `SeedSequence` is read, not advanced.
        rate: Mean arrival rate, requests/s; by default the one of `spec`. For a `load`, pass `rate_of(spec, engine)`.

    Raises:
        InvalidWorkloadError: If no rate is known, or no request arrives in the time.
    """
    rate = spec.rate if rate is None else rate
    if rate is None:
        raise InvalidWorkloadError(f"workload '{spec.name}' gives a load, not a rate; pass rate=rate_of(spec, engine)")
    arrivals, lengths, readers = (np.random.default_rng(child) for child in children(seed, 3))
    if spec.requests is None:
        arrival_s = spec.arrivals.sample(arrivals, rate, spec.duration_s or DEFAULT_DURATION_S)
    else:
        arrival_s = spec.arrivals.first(arrivals, rate, spec.requests)
    if len(arrival_s) == 0:
        raise InvalidWorkloadError(
            f"workload '{spec.name}': no request in {spec.duration_s} s at {rate:g} requests/s; raise one of them"
        )
    prompt, output = spec.lengths.sample(lengths, len(arrival_s))
    latency_s = spec.readers.sample(readers, len(arrival_s))
    return Workload(spec.name, arrival_s, prompt, output, spec.ttft.of(prompt), latency_s)


def saturation_rate(engine: EngineConfig, spec: WorkloadSpec, seed: int = 0) -> float:
    """Requests/s at load 1: what FCFS completes on `engine` when its queue never empties. Simulated, cached."""
    return saturation_of(engine, spec.lengths, seed)


def rate_of(spec: WorkloadSpec, engine: EngineConfig) -> float:
    """Mean arrival rate of `spec` on `engine`, requests/s: its rate, or its load times the saturation rate."""
    return spec.rate if spec.load is None else spec.load * saturation_rate(engine, spec)  # type: ignore[return-value]


def children(seed: int | SeedSequence, count: int) -> list[SeedSequence]:
    """Like `SeedSequence.spawn`, but without counting the children, so that a second call gives the same ones."""
    root = seed if isinstance(seed, SeedSequence) else SeedSequence(seed)
    return [SeedSequence(root.entropy, spawn_key=(*root.spawn_key, index)) for index in range(count)]
