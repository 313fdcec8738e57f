"""Recorded traffic: request traces from files. The header tells the format; what is wrong is told by line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import NDArray

from andes_engine.errors import TraceFormatError
from andes_engine.workload.readers import ReaderMix, TtftExpectation
from andes_engine.workload.spec import reader_mix, ttft_expectation
from andes_engine.workload.trace_format import parse_tokens, sniff
from andes_engine.workload.workload import Workload


class Trace(NamedTuple):
    """Requests of a trace file, in order of arrival. Arrays have shape (n,)."""

    name: str
    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    skipped: int


class _Row(NamedTuple):
    time_s: float
    prompt: int
    output: int
    line: int


def load_trace(
    path: str | Path,
    readers: str | float | Mapping[str, Any] | ReaderMix = "reading",
    ttft: str | float | Mapping[str, Any] | TtftExpectation = "fixed",
    seed: int | SeedSequence = 0,
    skip_zero: bool = False,
) -> Workload:
    """The workload a trace file records, with readers drawn from `seed` (traces know none).

    Args:
        path: File in one of `trace_format.FORMATS`.
        readers: Paces of the readers, as in `spec.workload_spec`.
        ttft: When they expect the first token, as in `spec.workload_spec`.
        seed: Seed of the readers.
        skip_zero: Leave out requests without a generated token (failed ones) instead of refusing the file.

    Raises:
        TraceFormatError: If the file is missing or malformed; the message names file, line and remedy.
    """
    trace = read_trace(path, skip_zero)
    latency_s = reader_mix(readers).sample(np.random.default_rng(seed), len(trace.arrival_s))
    expected_s = ttft_expectation(ttft).of(trace.prompt_tokens)
    return Workload(trace.name, trace.arrival_s, trace.prompt_tokens, trace.output_tokens, expected_s, latency_s)


def read_trace(path: str | Path, skip_zero: bool = False) -> Trace:
    """Requests of a trace file, with the clock at 0 on the first; `skipped` counts what `skip_zero` left out."""
    path = Path(path)
    if not path.is_file():
        raise TraceFormatError(f"{path}: no such file; give the path of a trace in CSV")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(_rows(path, csv.reader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceFormatError(f"{path}: cannot be read as CSV text ({error}); unpack it if compressed") from None
    kept = [row for row in rows if row.output > 0] if skip_zero else rows
    if not kept:
        zero = f"; all {len(rows)} have no generated tokens" if rows else ""
        raise TraceFormatError(f"{path}: no requests after the header{zero}")
    time_s, prompt, output, line = (np.array(column) for column in zip(*kept, strict=True))
    _check_zero(path, output, line)
    _check_order(path, time_s, line)
    return Trace(path.stem, time_s - time_s[0], prompt, output, len(rows) - len(kept))


def _rows(path: Path, reader: Any) -> Iterator[_Row]:
    header = [name.strip() for name in next(reader, [])]
    known = sniff(header, path)
    time_at, prompt_at, output_at = (header.index(column) for column in known.columns)
    for row in reader:
        if not row:
            continue
        where = f"{path}, line {reader.line_num}"
        if len(row) != len(header):
            raise TraceFormatError(
                f"{where}: {len(row)} fields, the header has {len(header)}; mend or remove this line"
            )
        yield _Row(
            known.parse_time(row[time_at].strip(), where),
            parse_tokens(row[prompt_at], known.prompt, 1, where),
            parse_tokens(row[output_at], known.output, 0, where),
            reader.line_num,
        )


def _check_zero(path: Path, output: NDArray[np.int64], line: NDArray[np.int64]) -> None:
    zero = np.flatnonzero(output == 0)
    if len(zero):
        raise TraceFormatError(
            f"{path}, line {line[zero[0]]}: a request without generated tokens ({len(zero)} in the file); such "
            "requests failed when they were recorded, leave them out with skip_zero=True"
        )


def _check_order(path: Path, time_s: NDArray[np.float64], line: NDArray[np.int64]) -> None:
    earlier = np.flatnonzero(np.diff(time_s) < 0)
    if len(earlier):
        first = earlier[0]
        raise TraceFormatError(
            f"{path}, line {line[first + 1]}: arrives {time_s[first] - time_s[first + 1]:.6g} s before the request "
            "above; sort the file by arrival time"
        )
