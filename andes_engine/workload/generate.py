"""The requests that a seed makes of traffic, and what its load means on an engine.

Every part draws from its own child of the seed (`Draws`), so changing or adding one leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, SeedSequence
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.multi_round import MultiRound, since_opening_s
from andes_engine.workload.prefix import growing_prompts
from andes_engine.workload.readers import Patience
from andes_engine.workload.saturation import saturation_of
from andes_engine.workload.traffic import DEFAULT_DURATION_S, WorkloadSpec
from andes_engine.workload.users import Users
from andes_engine.workload.workload import Workload, workload_of

Columns = dict[str, Any]
"""Columns of a `Workload` by name, in the order of arrival."""

_SEGMENTS = 1000
"""Spawn key of the seeds of segments: clear of the children that `Draws` has and will have."""


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
        rate: Mean arrival rate, requests/s; by default the one of `spec`. A segment's is its load factor times that.

    Raises:
        InvalidWorkloadError: If no rate is known, or no request arrives in the time.
    """
    rate = spec.rate if rate is None else rate
    if rate is None:
        raise InvalidWorkloadError(
            f"workload '{spec.name}' gives a load, not a rate; give a rate, or an engine to generate_on"
        )
    return _generated(spec, seed, [rate * stretch.load_factor for stretch in spec.stretches])


def generate_on(
    engine: EngineConfig, spec: WorkloadSpec, seed: int | SeedSequence, load: float | None = None
) -> Workload:
    """The requests that `seed` makes of `spec` for one engine; requests that it cannot hold are among them.

    Args:
        engine: Engine whose FCFS saturation is load 1: for a segment, its saturation with the lengths of the segment.
        spec: What traffic looks like.
        seed: Entropy; a `SeedSequence` is read, not advanced.
        load: Share of saturation; by default the load, or rate, of `spec`. A segment's is its load factor times that.

    Raises:
        InvalidWorkloadError: If no request arrives in the time.
    """
    load = spec.load if load is None else load
    if load is None:
        return generate(spec, seed)
    rates = [
        load * stretch.load_factor * saturation_of(engine, stretch.spec.request_lengths) for stretch in spec.stretches
    ]
    return _generated(spec, seed, rates)


def saturation_rate(engine: EngineConfig, spec: WorkloadSpec) -> float:
    """Requests/s at load 1: what FCFS completes on `engine` when its queue never empties. Simulated, cached.

    Of traffic with segments, the mean over its time: each segment's with its own lengths, times its load factor.
    """
    return sum(
        stretch.share * stretch.load_factor * saturation_of(engine, stretch.spec.request_lengths)
        for stretch in spec.stretches
    )


def _generated(spec: WorkloadSpec, seed: int | SeedSequence, rates: Sequence[float]) -> Workload:
    """The requests at one rate for each stretch."""
    draws = Draws.of(seed)
    if spec.multi_round is not None:
        return _conversations(spec, spec.multi_round, draws, rates[0])
    columns = _in_turn(spec, seed, rates) if spec.segments else _single_turns(spec, draws, rates[0])
    arrival_s = columns["arrival_s"]
    if len(arrival_s) == 0:
        raise _nobody_came(spec, rates)
    people = draws.people(spec.users, spec.patience, arrival_s, np.arange(len(arrival_s)))
    return Workload(spec.name, **columns, **people)


def _single_turns(spec: WorkloadSpec, draws: Draws, rate: float) -> Columns:
    """Requests that do not know of each other; perhaps none."""
    arrival_s = _arrivals(spec, draws, rate, spec.requests)
    prompt, output = spec.lengths.sample(draws.lengths, len(arrival_s))
    return {
        "arrival_s": arrival_s,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "ttft_s": spec.ttft.of(prompt),
        "latency_s": spec.readers.sample(draws.readers, len(arrival_s)),
    }


def _in_turn(spec: WorkloadSpec, seed: int | SeedSequence, rates: Sequence[float]) -> Columns:
    """One segment after the other, each from a seed of its own, so that changing one leaves the others as they were."""
    seeds = children(_child(seed, _SEGMENTS), len(rates))
    parts = []
    for stretch, own, rate in zip(spec.stretches, seeds, rates, strict=True):
        part = _single_turns(stretch.spec, Draws.of(own), rate)
        parts.append({**part, "arrival_s": stretch.start_s + part["arrival_s"]})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _nobody_came(spec: WorkloadSpec, rates: Sequence[float]) -> InvalidWorkloadError:
    shown = ", ".join(f"{rate:g}" for rate in rates)
    return InvalidWorkloadError(
        f"workload '{spec.name}': no request in {spec.duration_s} s at {shown} requests/s; raise one of them"
    )


def _arrivals(spec: WorkloadSpec, draws: Draws, rate: float, count: int | None) -> NDArray[np.float64]:
    if count is not None:
        return spec.arrivals.first(draws.arrivals, rate, count)
    return spec.arrivals.sample(draws.arrivals, rate, spec.duration_s or DEFAULT_DURATION_S)


def _conversations(spec: WorkloadSpec, talk: MultiRound, draws: Draws, rate: float) -> Workload:
    """Conversations open as the arrival process says, and follow-ups come in their own time.

    Turns past the end are moved to the start, as those of conversations already under way there, with a context the
    engine has not seen: the rate holds from the first second to the last.
    """
    opening_rate = rate / talk.mean_rounds
    if spec.requests is None:
        opening_s = _arrivals(spec, draws, opening_rate, None)
        if len(opening_s) == 0:
            raise _nobody_came(spec, [opening_rate])
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


def children(seed: int | SeedSequence, count: int) -> list[SeedSequence]:
    """Like `SeedSequence.spawn`, but without counting the children, so that a second call gives the same ones."""
    return [_child(seed, index) for index in range(count)]


def _child(seed: int | SeedSequence, index: int) -> SeedSequence:
    root = seed if isinstance(seed, SeedSequence) else SeedSequence(seed)
    return SeedSequence(root.entropy, spawn_key=(*root.spawn_key, index))
