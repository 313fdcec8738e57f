"""When requests arrive. Each process draws unit-rate "operational" time and maps it to the clock by its rate profile.

So one seed gives the same draws at every rate, and asking for more requests does not move the first ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import InvalidWorkloadError

FloatArray = NDArray[np.float64]

MAX_REQUESTS = 5_000_000
"""More arrivals than this are refused: a slip in rate or duration would otherwise fill the memory."""


class ArrivalProcess:
    """Base of arrival processes: `_gaps` draws unit-mean gaps, `_clock_s` maps cumulated gaps to seconds."""

    __slots__ = ()
    kind: ClassVar[str]

    def sample(self, rng: np.random.Generator, rate: float, duration_s: float) -> FloatArray:
        """Arrivals in [0, duration_s) at a mean of `rate` requests/s. Shape (n,), n may be 0, sorted, s.

        Raises:
            InvalidWorkloadError: If rate or duration is not a positive number, or they ask for too many requests.
        """
        _positive("duration_s", duration_s, "s")
        _positive("rate", rate, "requests/s")
        expected = rate * duration_s
        _check_count(expected)
        chunk = int(expected + 4.0 * expected**0.5) + 16
        gaps = self._gaps(rng, chunk)
        arrival_s = self._clock_s(np.cumsum(gaps), rate)
        while arrival_s[-1] < duration_s:
            gaps = np.concatenate([gaps, self._gaps(rng, chunk)])
            arrival_s = self._clock_s(np.cumsum(gaps), rate)
        return arrival_s[arrival_s < duration_s]

    def first(self, rng: np.random.Generator, rate: float, count: int) -> FloatArray:
        """The first `count` arrivals. Shape (count,), sorted, s."""
        _positive("rate", rate, "requests/s")
        if count < 1:
            raise InvalidWorkloadError(f"requests = {count} must be >= 1")
        _check_count(count)
        return self._clock_s(np.cumsum(self._gaps(rng, count)), rate)

    @property
    def peak(self) -> float:
        """Highest rate over mean rate that lasts for a time."""
        return 1.0

    def _gaps(self, rng: np.random.Generator, count: int) -> FloatArray:
        return rng.exponential(size=count)

    def _clock_s(self, operational: FloatArray, rate: float) -> FloatArray:
        return operational / rate


@dataclass(frozen=True, slots=True)
class Poisson(ArrivalProcess):
    """Independent arrivals at a constant rate."""

    kind: ClassVar[str] = "poisson"


@dataclass(frozen=True, slots=True)
class Gamma(ArrivalProcess):
    """Renewal process with gamma gaps: burstier than Poisson below shape 1, more regular above.

    Args:
        shape: Shape of the gap distribution; its coefficient of variation is 1/sqrt(shape).
    """

    kind: ClassVar[str] = "gamma"
    shape: float = 0.25

    def __post_init__(self) -> None:
        _positive("shape", self.shape, "(CV = 1/sqrt(shape))")

    def _gaps(self, rng: np.random.Generator, count: int) -> FloatArray:
        return rng.gamma(self.shape, 1.0 / self.shape, size=count)


@dataclass(frozen=True, slots=True)
class CyclicBurst(ArrivalProcess):
    """Andes' cyclic burst: Poisson at `rate * h` for share `w` of each period, then at `rate * (1 - h w) / (1 - w)`.

    Args:
        period_s: Length of a cycle, s (paper: 1200).
        intensity: h, peak rate over mean rate, >= 1 (paper: 2, swept 1.2 to 2.8).
        duration_share: w, share of the cycle at the peak rate (paper: .35, swept .25 to .45); h * w < 1.
        offset_s: Where in the cycle time 0 lies, s; the peak opens the cycle.
    """

    kind: ClassVar[str] = "cyclic_burst"
    period_s: float = 1200.0
    intensity: float = 2.0
    duration_share: float = 0.35
    offset_s: float = 0.0

    def __post_init__(self) -> None:
        _positive("period_s", self.period_s, "s")
        if not 0.0 < self.duration_share < 1.0:
            raise InvalidWorkloadError(f"duration_share = {self.duration_share} must be between 0 and 1")
        if not (self.intensity >= 1.0 and self.intensity * self.duration_share < 1.0):
            raise InvalidWorkloadError(
                f"intensity = {self.intensity} must be >= 1, below 1 / duration_share = {1 / self.duration_share:.3g}, "
                "or nothing is left for the off-peak phase"
            )
        if not (np.isfinite(self.offset_s) and self.offset_s >= 0.0):
            raise InvalidWorkloadError(f"offset_s = {self.offset_s} must be a finite number of seconds >= 0")

    @property
    def peak(self) -> float:
        """The intensity."""
        return self.intensity

    def _clock_s(self, operational: FloatArray, rate: float) -> FloatArray:
        """Inverse of the cumulated rate, which is piecewise linear with one kink in each cycle."""
        peak_share = self.intensity * self.duration_share
        cycle_s, cycle_share = (0.0, self.duration_share, 1.0), (0.0, peak_share, 1.0)
        start_cycles, start_phase = divmod(self.offset_s / self.period_s, 1.0)
        before = start_cycles + np.interp(start_phase, cycle_s, cycle_share)
        cycles, share = np.divmod(operational / (rate * self.period_s) + before, 1.0)
        clock_s = (cycles + np.interp(share, cycle_share, cycle_s)) * self.period_s - self.offset_s
        return np.maximum.accumulate(np.maximum(clock_s, 0.0))


ARRIVALS: dict[str, type[ArrivalProcess]] = {process.kind: process for process in (Poisson, Gamma, CyclicBurst)}
"""Arrival processes by the name that configurations use."""


def _positive(name: str, value: float, unit: str) -> None:
    if not (np.isfinite(value) and value > 0.0):
        raise InvalidWorkloadError(f"{name} = {value} {unit} must be a finite number > 0")


def _check_count(expected: float) -> None:
    if expected > MAX_REQUESTS:
        raise InvalidWorkloadError(
            f"{expected:.3g} requests asked for, limit {MAX_REQUESTS:,}; lower rate or duration_s"
        )
