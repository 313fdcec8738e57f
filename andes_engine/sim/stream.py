"""Runs without end: a stream of requests in chunks, with memory for one chunk and whoever is live.

Each chunk is put behind the requests still live in a table of its own. A chunk runs until its last arrival, and no iteration
begins after that before the next chunk is there, so the outcome is that of one whole run (`tests/engine/test_stream.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError
from andes_engine.knobs import Knobs
from andes_engine.records import RunRecord
from andes_engine.sim import state as st
from andes_engine.sim.simulator import DRAIN, Simulator
from andes_engine.workload import Workload

IntArray = NDArray[np.int64]

_CARRIED_REGISTERS = (st.R_RUNNING, st.R_WAITING, st.R_FREE_BLOCKS, st.R_HOST_FREE, st.R_COPIED)


def simulate_stream(
    engine: EngineConfig,
    workloads: Iterable[Workload],
    scheduler: str,
    knobs: Knobs | None = None,
    lengths: str = "none",
    length_sigma: float = 0.6,
    users: int = 1,
) -> Iterator[RunRecord]:
    """Run workloads one after the other on one clock, without a break and without keeping what is over.

    Args:
        engine: The engine; prefix caching keeps names of past requests' blocks and is refused.
        workloads: Chunks of the stream, some 10,000 requests each; arrival times go on from chunk to chunk.
        scheduler: As in `Simulator.reset`, like the next three.
        knobs: Knobs, fixed.
        lengths: Length source; the errors of `noisy` are drawn anew for each chunk.
        length_sigma: Error of the noisy source.
        users: Most users any workload will have.

    Yields:
        Records of the requests that have left since the last one, in order of arrival; counts in them are since the last one too.

    Raises:
        CapacityError: If the engine caches prefixes, or a request does not fit it.
        InvalidWorkloadError: If a workload begins before the one before it has ended.
    """
    if engine.prefix_caching:
        raise CapacityError(
            f"engine '{engine.name}' caches prefixes, which a stream cannot follow; set prefix_caching=False, or use simulate"
        )
    simulator: Simulator | None = None
    for workload in workloads:
        if simulator is not None:
            simulator.advance(simulator.workload(0).duration_s)
            yield from _left(simulator, scheduler)
        simulator = _go_on(simulator, engine, workload, scheduler, knobs or Knobs(), lengths, length_sigma, users)
    if simulator is not None:
        simulator.advance(DRAIN)
        yield from _left(simulator, scheduler)


def _go_on(
    before: Simulator | None,
    engine: EngineConfig,
    workload: Workload,
    scheduler: str,
    knobs: Knobs,
    lengths: str,
    length_sigma: float,
    users: int,
) -> Simulator:
    """A simulator that goes on where the one before stopped, with more requests to come."""
    kept = np.zeros(0, dtype=np.int64) if before is None else _still_here(before)
    merged = replace(workload, block_hashes=None)
    if before is not None:
        merged = _joined(before.workload(0), kept, merged)
    simulator = Simulator([engine], len(merged), users=users)
    simulator.reset(0, merged, scheduler, knobs, lengths, length_sigma)
    if before is not None:
        _carry(before, simulator, kept)
    return simulator


def _still_here(simulator: Simulator) -> IntArray:
    """Rows that have not left: live ones and those still to arrive, in order of arrival."""
    mine = simulator.of(0)
    registers = mine.registers
    running, waiting = mine.running[: registers[st.R_RUNNING]], mine.waiting[: registers[st.R_WAITING]]
    to_come = np.arange(registers[st.R_NEXT_ARRIVAL], registers[st.R_LIMIT])
    return np.sort(np.concatenate([running, waiting, to_come]))


def _joined(old: Workload, kept: IntArray | NDArray[np.bool_], new: Workload | None = None) -> Workload:
    """Some requests of one workload, and all of another behind them."""
    names = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s", "user", "abort_s")
    columns = {name: getattr(old, name)[kept] for name in names}
    if new is not None:
        columns = {name: np.concatenate([values, getattr(new, name)]) for name, values in columns.items()}
    return Workload(old.name if new is None else new.name, **columns)


def _carry(before: Simulator, after: Simulator, kept: IntArray) -> None:
    """Put the live requests into the first rows of another simulator, with all that the engine and its decisions remember.

    Rows keep their order, which decides ties. The last plan's order is not carried over; it changes no decision.
    """
    old, new = before.of(0), after.of(0)
    running, waiting = old.registers[st.R_RUNNING], old.registers[st.R_WAITING]
    new.table[: len(kept)] = old.table[kept]
    new.running[:running] = np.searchsorted(kept, old.running[:running])
    new.waiting[:waiting] = np.searchsorted(kept, old.waiting[:waiting])
    new.now_s[:] = old.now_s
    new.registers[[*_CARRIED_REGISTERS]] = old.registers[[*_CARRIED_REGISTERS]]
    new.registers[st.R_NEXT_ARRIVAL] = running + waiting
    for name in ("rhythm", "user_service", "hazard"):
        getattr(new.memory, name)[:] = getattr(old.memory, name)
    if len(kept) == len(before.workload(0)):  # nobody has left, so nothing was reported
        new.counters[:] = old.counters


def _left(simulator: Simulator, label: str) -> Iterator[RunRecord]:
    """A record of those who have left; none if nobody has, then the next one counts from here on too."""
    whole = simulator.record(0, label)
    gone = np.ones(len(whole.workload), dtype=np.bool_)
    gone[_still_here(simulator)] = False
    if gone.any():
        per_request = ("qoe", "qoe_lower", "first_token_s", "finish_s", "emitted_tokens", "preemptions")
        columns = {name: getattr(whole, name)[gone] for name in per_request}
        yield replace(whole, workload=_joined(whole.workload, gone), **columns)
