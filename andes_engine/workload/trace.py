"""Recorded traffic: request traces from files. Name and content tell the format; what is wrong is told by line."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from andes_engine.errors import TraceFormatError
from andes_engine.workload.generate import Draws
from andes_engine.workload.prefix import PrefixHashes
from andes_engine.workload.readers import Patience, ReaderMix, TtftExpectation
from andes_engine.workload.spec import patience_of, reader_mix, ttft_expectation, users_of
from andes_engine.workload.trace_format import Row
from andes_engine.workload.trace_lines import rows_of
from andes_engine.workload.users import Users
from andes_engine.workload.workload import Workload


class Trace(NamedTuple):
    """Requests of a trace file, in order of arrival. Arrays have shape (n,).

    Args:
        name: Stem of the file's name.
        arrival_s: Time of arrival, s after the first; None for a file of lengths, which cannot be replayed.
        prompt_tokens: Prompt lengths.
        output_tokens: Response lengths.
        skipped: Requests without a generated token that were left out.
        latency_s: Paces of the readers, s per token, where the file knows them.
        block_hashes: Which prompts begin alike, where the file knows it.
    """

    name: str
    arrival_s: NDArray[np.float64] | None
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    skipped: int
    latency_s: NDArray[np.float64] | None = None
    block_hashes: PrefixHashes | None = None

    @property
    def readers(self) -> ReaderMix:
        """The paces the file knows, each as often as it has them."""
        if self.latency_s is None:
            raise TraceFormatError(f"trace '{self.name}' knows no paces of readers; name a reader mix, such as reading")
        pace_s, count = np.unique(self.latency_s, return_counts=True)
        return ReaderMix(tuple(pace_s), tuple(count))


def load_trace(
    path: str | Path,
    readers: str | float | Mapping[str, Any] | ReaderMix = "reading",
    ttft: str | float | Mapping[str, Any] | TtftExpectation = "fixed",
    seed: int | SeedSequence = 0,
    skip_zero: bool = False,
    users: int | Mapping[str, Any] | Users | None = None,
    patience: float | Mapping[str, Any] | Patience | None = None,
) -> Workload:
    """The workload a trace file records, with readers and users drawn from `seed` (traces with times know none).

    Args:
        path: File in one of `trace_format.FORMATS`, or Mooncake's JSON lines.
        readers: Paces of the readers, as in `spec.workload_spec`.
        ttft: When they expect the first token, as in `spec.workload_spec`.
        seed: Seed of the readers and users.
        skip_zero: Leave out requests without a generated token (failed ones) instead of refusing the file.
        users: Who asks, as in `spec.workload_spec`; None for one user.
        patience: Readers who leave, as in `spec.workload_spec`; None for readers who stay.

    Raises:
        TraceFormatError: If the file is missing, malformed or without times; the message names file, line and remedy.
    """
    trace = read_trace(path, skip_zero)
    if trace.arrival_s is None:
        raise TraceFormatError(
            f"{path}: has lengths but no arrival times, so it cannot be replayed; draw from it with "
            "EmpiricalLengths(trace.prompt_tokens, trace.output_tokens) as the lengths of a workload"
        )
    latency_s = reader_mix(readers).sample(np.random.default_rng(seed), len(trace.arrival_s))
    expected_s = ttft_expectation(ttft).of(trace.prompt_tokens)
    columns = (trace.arrival_s, trace.prompt_tokens, trace.output_tokens, expected_s, latency_s)
    asker = np.arange(len(trace.arrival_s))
    people = Draws.of(seed).people(users_of(users), patience_of(patience), trace.arrival_s, asker)
    return Workload(trace.name, *columns, **people, block_hashes=trace.block_hashes)


def read_trace(path: str | Path, skip_zero: bool = False) -> Trace:
    """Requests of a trace file, with the clock at 0 on the first; `skipped` counts what `skip_zero` left out."""
    path = Path(path)
    columns, skipped = _Columns(), 0
    try:
        for row in rows_of(path):
            if skip_zero and row.output_tokens == 0:
                skipped += 1
            else:
                columns.add(row)
    except OSError as error:
        raise TraceFormatError(f"{path}: cannot be read ({error})") from None
    if not columns.line:
        zero = f"; all {skipped} have no generated tokens" if skipped else ""
        raise TraceFormatError(f"{path}: no requests in the file{zero}; give a trace with at least one")
    columns.check(path)
    return columns.trace(path.stem, skipped)


class _Columns:
    """Rows as they are read, in packed arrays: a trace of millions of requests is never a list of Python objects."""

    def __init__(self) -> None:
        self.line, self.prompt, self.output = array("q"), array("q"), array("q")
        self.time_s, self.latency_s = array("d"), array("d")
        self.hash_ids, self.hash_offsets = array("q"), array("q", [0])

    def add(self, row: Row) -> None:
        self.line.append(row.line)
        self.time_s.append(row.time_s)
        self.prompt.append(row.prompt_tokens)
        self.output.append(row.output_tokens)
        self.latency_s.append(row.latency_s)
        self.hash_ids.extend(row.hash_ids)
        self.hash_offsets.append(len(self.hash_ids))

    def check(self, path: Path) -> None:
        zero = np.flatnonzero(np.array(self.output) == 0)
        if len(zero):
            raise TraceFormatError(
                f"{path}, line {self.line[zero[0]]}: a request without generated tokens ({len(zero)} in the file); such "
                "requests failed when they were recorded, leave them out with skip_zero=True"
            )
        earlier = np.flatnonzero(np.diff(self.time_s) < 0)
        if len(earlier):
            first = int(earlier[0])
            raise TraceFormatError(
                f"{path}, line {self.line[first + 1]}: arrives {self.time_s[first] - self.time_s[first + 1]:.6g} s before "
                "the request above; sort the file by arrival time"
            )

    def trace(self, name: str, skipped: int) -> Trace:
        time_s, latency_s = np.array(self.time_s), np.array(self.latency_s)
        return Trace(
            name,
            None if np.isnan(time_s[0]) else time_s - time_s[0],
            np.array(self.prompt, dtype=np.int64),
            np.array(self.output, dtype=np.int64),
            skipped,
            None if np.isnan(latency_s[0]) else latency_s,
            PrefixHashes(np.array(self.hash_ids), np.array(self.hash_offsets)) if self.hash_ids else None,
        )
