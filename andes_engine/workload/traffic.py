"""What traffic looks like, without its randomness: a specification, and the segments of one that changes midway."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.arrivals import ArrivalProcess
from andes_engine.workload.lengths import Lengths
from andes_engine.workload.multi_round import ConversationLengths, MultiRound
from andes_engine.workload.readers import FIXED_TTFT, READING, Patience, ReaderMix, TtftExpectation
from andes_engine.workload.users import Users

DEFAULT_DURATION_S = 600.0
DEFAULT_LOAD = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time in which traffic is different; what is None is as in the rest of the workload.

    Args:
        share: Weight of its time, > 0; the segments' shares need not sum to 1.
        load_factor: Its load, or rate, over that of the workload, > 0. A load is that of its own lengths.
        name: For results; by default its number, from 1.
        arrivals: Arrival process, which starts anew with the segment.
        lengths: Prompt and output lengths.
        readers: Paces of the readers.
        ttft: When readers expect the first token.

    Raises:
        InvalidWorkloadError: If a number is out of range.
    """

    share: float
    load_factor: float = 1.0
    name: str = ""
    arrivals: ArrivalProcess | None = None
    lengths: Lengths | None = None
    readers: ReaderMix | None = None
    ttft: TtftExpectation | None = None

    def __post_init__(self) -> None:
        for field in ("share", "load_factor"):
            value = getattr(self, field)
            if not (np.isfinite(value) and value > 0.0):
                which = f"segment '{self.name}'" if self.name else "a segment"
                raise InvalidWorkloadError(f"{which} has {field} = {value}, must be a finite number > 0")


class Stretch(NamedTuple):
    """Traffic that does not change, and when it is there: a segment, or all of a workload without segments.

    `share` is of the workload's time, and the shares of all stretches sum to 1.
    """

    name: str
    start_s: float
    share: float
    load_factor: float
    spec: WorkloadSpec


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What traffic looks like, without its randomness. Build one from configuration with `spec.workload_spec`.

    Args:
        name: For records.
        arrivals: Arrival process.
        lengths: Prompt and output lengths; of conversations, message and answer of a turn.
        readers: Paces of the readers.
        ttft: When readers expect the first token.
        duration_s: Arrivals stop after this time, s. Give this or `requests`; neither means 600 s.
        requests: Number of requests.
        rate: Mean arrival rate, requests/s. Give this or `load`; neither means load 1.
        load: Mean arrival rate as a share of what FCFS saturates at on the engine (see `generate.saturation_rate`).
        users: Who asks; None for one user.
        patience: Readers who leave; None for readers who stay.
        multi_round: Conversations with follow-ups; None for single turns. Rates count every turn.
        segments: How it changes midway, one segment after the other over `duration_s`; none for traffic that stays as it is.
            Users and patience are those of the whole workload. Not with `requests` or `multi_round`.

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
    users: Users | None = None
    patience: Patience | None = None
    multi_round: MultiRound | None = None
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        self._one_of("duration_s", "requests", DEFAULT_DURATION_S)
        self._one_of("load", "rate", DEFAULT_LOAD)
        for field in ("duration_s", "requests", "rate", "load"):
            value = getattr(self, field)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InvalidWorkloadError(f"workload '{self.name}': {field} = {value} must be a finite number > 0")
        if self.segments and self.duration_s is None:
            raise InvalidWorkloadError(
                f"workload '{self.name}': segments are shares of time; give duration_s instead of requests"
            )
        if self.segments and self.multi_round is not None:
            raise InvalidWorkloadError(
                f"workload '{self.name}': follow-ups of multi_round would reach into later segments; leave one of them out"
            )

    @property
    def request_lengths(self) -> Lengths:
        """Lengths of whole requests: of a conversation's turns, prompts include everything said before."""
        return self.lengths if self.multi_round is None else ConversationLengths(self.lengths, self.multi_round)

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The segments as specifications of their own, in the order of time; of traffic that stays as it is, only itself."""
        if not self.segments:
            return (Stretch(self.name, 0.0, 1.0, 1.0, self),)
        whole_s, weights = self.duration_s or DEFAULT_DURATION_S, [segment.share for segment in self.segments]
        shares = [weight / sum(weights) for weight in weights]
        starts_s = [whole_s * before for before in accumulate(shares, initial=0.0)]
        return tuple(
            Stretch(
                segment.name or str(number), start_s, share, segment.load_factor, self._within(segment, share * whole_s)
            )
            for number, (segment, start_s, share) in enumerate(zip(self.segments, starts_s, shares, strict=False), 1)
        )

    def _within(self, segment: Segment, duration_s: float) -> WorkloadSpec:
        changes = {part: getattr(segment, part) for part in ("arrivals", "lengths", "readers", "ttft")}
        changes = {part: value for part, value in changes.items() if value is not None}
        return replace(self, duration_s=duration_s, users=None, patience=None, segments=(), **changes)

    def _one_of(self, field: str, other: str, default: float) -> None:
        if getattr(self, field) is not None and getattr(self, other) is not None:
            raise InvalidWorkloadError(f"workload '{self.name}': give {field} or {other}, not both")
        if getattr(self, field) is None and getattr(self, other) is None:
            object.__setattr__(self, field, default)


def segment_of(spec: WorkloadSpec, arrival_s: ArrayLike) -> NDArray[np.intp]:
    """The stretch that each arrival of a drawn workload falls into, as an index of `spec.stretches`.

    Args:
        spec: What it was drawn from.
        arrival_s: Arrival times, s from the start. Shape (n,).
    """
    starts_s = [stretch.start_s for stretch in spec.stretches]
    return np.searchsorted(starts_s, np.asarray(arrival_s), side="right") - 1
