"""Synthetic workloads: a specification, and the requests a seed makes of it.

Every part draws from its own child of the seed (`Draws`), so changing or adding one leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.arrivals import ArrivalProcess
from andes_engine.workload.lengths import Lengths
from andes_engine.workload.multi_round import ConversationLengths, MultiRound, since_opening_s
from andes_engine.workload.prefix import growing_prompts
from andes_engine.workload.readers import FIXED_TTFT, READING, Patience, ReaderMix, TtftExpectation
from andes_engine.workload.saturation import saturation_of
from andes_engine.workload.users import Users
from andes_engine.workload.workload import Workload, workload_of

DEFAULT_DURATION_S = 600.0
DEFAULT_LOAD = 1.0


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
        load: Mean arrival rate as a share of what FCFS saturates at on the engine (see `saturation_rate`).
        users: Who asks; None for one user.
        patience: Readers who leave; None for readers who stay.
        multi_round: Conversations with follow-ups; None for single turns. Rates count every turn.

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

    def __post_init__(self) -> None:
        self._one_of("duration_s", "requests", DEFAULT_DURATION_S)
        self._one_of("load", "rate", DEFAULT_LOAD)
        for field in ("duration_s", "requests", "rate", "load"):
            value = getattr(self, field)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InvalidWorkloadError(f"workload '{self.name}': {field} = {value} must be a finite number > 0")

    @property
    def request_lengths(self) -> Lengths:
        """Lengths of whole requests: of a conversation's turns, prompts include everything said before."""
        return self.lengths if self.multi_round is None else ConversationLengths(self.lengths, self.multi_round)

    def _one_of(self, field: str, other: str, default: float) -> None:
        if getattr(self, field) is not None and getattr(self, other) is not None:
            raise InvalidWorkloadError(f"workload '{self.name}': give {field} or {other}, not both")
        if getattr(self, field) is None and getattr(self, other) is None:
            object.__setattr__(self, field, default)


class Draws(NamedTuple):
    """A generator for each part of a workload. A new part comes last, so that it moves nothing."""

    arrivals: Generator
    lengths: Generator
    readers: Generator
    users: Generator
    patience: Generator
    rounds: Generator
    thinking: Generator

    @classmethod
    def of(cls, seed: int | SeedSequence) -> Draws:
        """Fresh generators from the children of `seed`, which is read, not advanced."""
        return cls(*(np.random.default_rng(child) for child in children(seed, len(cls._fields))))

    def people(
        self, users: Users | None, patience: Patience | None, arrival_s: NDArray[np.float64], asker: NDArray[np.int64]
    ) -> dict[str, Any]:
        """Columns `user` and `abort_s` of requests, empty where nothing is given.

        Args:
            users: Who asks.
            patience: Readers who leave.
            arrival_s: When requests arrive. Shape (n,), s.
            asker: Numbers from 0, rising; requests with the same number are of one user. Shape (n,).
        """
        who = {} if users is None else {"user": users.sample(self.users, int(asker[-1]) + 1)[asker]}
        stay = {} if patience is None else {"abort_s": arrival_s + patience.sample(self.patience, len(arrival_s))}
        return {**who, **stay}


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
    draws = Draws.of(seed)
    if spec.multi_round is not None:
        return _conversations(spec, spec.multi_round, draws, rate)
    arrival_s = _arrivals(spec, draws, rate, spec.requests)
    prompt, output = spec.lengths.sample(draws.lengths, len(arrival_s))
    latency_s = spec.readers.sample(draws.readers, len(arrival_s))
    people = draws.people(spec.users, spec.patience, arrival_s, np.arange(len(arrival_s)))
    return Workload(spec.name, arrival_s, prompt, output, spec.ttft.of(prompt), latency_s, **people)


def _arrivals(spec: WorkloadSpec, draws: Draws, rate: float, count: int | None) -> NDArray[np.float64]:
    if count is not None:
        return spec.arrivals.first(draws.arrivals, rate, count)
    arrival_s = spec.arrivals.sample(draws.arrivals, rate, spec.duration_s or DEFAULT_DURATION_S)
    if len(arrival_s) == 0:
        raise InvalidWorkloadError(
            f"workload '{spec.name}': no request in {spec.duration_s} s at {rate:g} requests/s; raise one of them"
        )
    return arrival_s


def _conversations(spec: WorkloadSpec, talk: MultiRound, draws: Draws, rate: float) -> Workload:
    """Conversations open as the arrival process says, and follow-ups come in their own time.

    Turns past the end are moved to the start, as those of conversations already under way there, with a context the
    engine has not seen: the rate holds from the first second to the last.
    """
    opening_rate = rate / talk.mean_rounds
    if spec.requests is None:
        opening_s = _arrivals(spec, draws, opening_rate, None)
        rounds = talk.rounds(draws.rounds, len(opening_s))
    else:
        rounds = talk.rounds_of(draws.rounds, spec.requests)
        opening_s = _arrivals(spec, draws, opening_rate, len(rounds))
    turn_of = np.repeat(np.arange(len(rounds)), rounds)
    message, output = spec.lengths.sample(draws.lengths, len(turn_of))
    prompt, opens = talk.prompts(rounds, message, output)
    ttft_s, latency_s = spec.ttft.of(prompt), spec.readers.sample(draws.readers, len(rounds))[turn_of]
    pause_s = ttft_s + output * latency_s + draws.thinking.exponential(talk.think_s, len(turn_of))
    window_s = spec.duration_s if spec.requests is None else spec.requests / rate
    lap, arrival_s = np.divmod(opening_s[turn_of] + since_opening_s(rounds, pause_s), window_s or DEFAULT_DURATION_S)
    opens |= np.diff(lap, prepend=lap[0]) != 0
    people = draws.people(spec.users, spec.patience, arrival_s, turn_of)
    columns = {"prompt_tokens": prompt, "output_tokens": output, "ttft_s": ttft_s, "latency_s": latency_s, **people}
    return workload_of(spec.name, {"arrival_s": arrival_s, **columns}, growing_prompts(prompt, opens))


def saturation_rate(engine: EngineConfig, spec: WorkloadSpec, seed: int = 0) -> float:
    """Requests/s at load 1: what FCFS completes on `engine` when its queue never empties. Simulated, cached."""
    return saturation_of(engine, spec.request_lengths, seed)


def rate_of(spec: WorkloadSpec, engine: EngineConfig) -> float:
    """Mean arrival rate of `spec` on `engine`, requests/s: its rate, or its load times the saturation rate."""
    return spec.rate if spec.load is None else spec.load * saturation_rate(engine, spec)  # type: ignore[return-value]


def children(seed: int | SeedSequence, count: int) -> list[SeedSequence]:
    """Like `SeedSequence.spawn`, but without counting the children, so that a second call gives the same ones."""
    root = seed if isinstance(seed, SeedSequence) else SeedSequence(seed)
    return [SeedSequence(root.entropy, spawn_key=(*root.spawn_key, index)) for index in range(count)]
