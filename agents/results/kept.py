"""The recorded rows: one Parquet file, a line for each suite, arm and training seed, numbers as small integers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.record_file import RecordFileError
from agents.results.measured import SCALES, SEGMENT_SCALE, FloatArray

Row = TypeVar("Row")

ROWS = "rows.parquet"
_SEGMENTS = "segments"
_TEXTS = ("suite", "suite_hash", "arm", "contender_hash", "commit")


@dataclass(frozen=True, slots=True, eq=False)
class KeptRow:
    """One member of an arm in one suite.

    Args:
        suite: Name.
        suite_hash: Of its settings and workloads.
        arm: Name.
        seed: Training seed.
        contender_hash: Of everything that makes the contender.
        commit: Code it was run with.
        values: Metrics by key. Shape (workloads,).
        segments: See `measured.Found`. Shape (workloads, spans); (0, 0) where it is not kept.
    """

    suite: str
    suite_hash: str
    arm: str
    seed: int
    contender_hash: str
    commit: str
    values: dict[str, FloatArray]
    segments: FloatArray

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is of."""
        return self.suite, self.arm, self.seed


def write_kept(rows: Iterable[KeptRow], path: Path) -> Path:
    """Write rows in a fixed order, complete or not at all."""
    ordered = sorted(rows, key=lambda row: row.key)
    columns: dict[str, Any] = {name: pa.array([getattr(row, name) for row in ordered], pa.string()) for name in _TEXTS}
    columns["seed"] = pa.array([row.seed for row in ordered], pa.int64())
    columns["spans"] = pa.array([row.segments.shape[1] for row in ordered], pa.int32())
    for key, scale in SCALES.items():
        columns[key] = pa.array([whole(row.values[key], scale) for row in ordered], pa.list_(pa.int32()))
    columns[_SEGMENTS] = pa.array([whole(row.segments.ravel(), SEGMENT_SCALE) for row in ordered], pa.list_(pa.int32()))
    return write_whole_numbers(columns, path, _TEXTS, (*SCALES, _SEGMENTS))


def write_whole_numbers(columns: Mapping[str, Any], path: Path, texts: Sequence[str], lists: Sequence[str]) -> Path:
    """Write a table as small as it gets, complete or not at all: `texts` repeat themselves, `lists` hold whole numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(
        pa.table(columns),
        staging,
        compression="brotli",
        compression_level=11,
        write_statistics=False,
        store_schema=False,
        use_dictionary=[*texts],
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists},
    )
    staging.replace(path)
    return path


def read_kept(path: Path) -> list[KeptRow]:
    """The rows of a file of `write_kept`; none if there is no such file.

    Raises:
        RecordFileError: If it is damaged or of another kind.
    """
    return read_whole_numbers(path, _row, "rows")


def read_whole_numbers(path: Path, made_of: Callable[[dict[str, Any]], Row], what: str) -> list[Row]:
    """What `made_of` makes of each line of a file of `write_whole_numbers`; none if there is no such file.

    Raises:
        RecordFileError: If it is damaged or of another kind; the message says `what` it should hold.
    """
    if not path.is_file():
        return []
    try:
        return [made_of(entry) for entry in pq.read_table(path).to_pylist()]
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise RecordFileError(
            f"{path}: no recorded {what}, or damaged ({error!r}); remove it, or give recorded=null"
        ) from None


def _row(entry: dict[str, Any]) -> KeptRow:
    values = {key: np.array(entry[key], dtype=np.float64) * scale for key, scale in SCALES.items()}
    segments = np.array(entry[_SEGMENTS], dtype=np.float64) * SEGMENT_SCALE
    spans = entry["spans"]
    shaped = segments.reshape(-1, spans) if spans else np.zeros((0, 0))
    texts = {name: entry[name] for name in _TEXTS}
    return KeptRow(**texts, seed=entry["seed"], values=values, segments=shaped)


def whole(values: FloatArray, scale: float) -> list[int]:
    """Values in whole numbers of `scale`. Shape (n,)."""
    return [int(value) for value in np.round(values / scale)]
