"""A run's record as a Parquet file, one row per request; what is read back equals what was written, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from andes_engine.errors import AndesError
from andes_engine.records import RunRecord
from andes_engine.workload import Workload
from andes_engine.workload.prefix import PrefixHashes

FORMAT = "andes-record-1"
_META = b"andes_record"
_ASKED = {
    "arrival_s": "arrival_s",
    "prompt_tokens": "prompt_tokens",
    "output_tokens": "output_tokens",
    "expected_ttft_s": "ttft_s",
    "expected_latency_s": "latency_s",
    "user": "user",
    "abort_s": "abort_s",
}
"""Columns of the file by the field of `Workload` they hold: what was asked, and what the reader expected."""

_CAME = ("qoe", "qoe_lower", "first_token_s", "finish_s", "emitted_tokens", "preemptions")
_SCALARS = ("engine", "scheduler", "duration_s", "prefill_tokens", "notes")
_HASHES, _TOKENS = "block_hashes", "token_s"


class RecordFileError(AndesError):
    """A file of a record that is missing or damaged."""


def outcome_columns(record: RunRecord) -> dict[str, NDArray[Any]]:
    """What came out of a run, by name: one value per request, the token times one after the other, and the run's own numbers."""
    columns = {name: getattr(record, name) for name in _CAME}
    if record.token_s:
        columns[_TOKENS] = np.concatenate(record.token_s)
    run = {"duration_s": record.duration_s, "prefill_tokens": record.prefill_tokens, **record.notes}
    return columns | {name: np.array([value], dtype=np.float64) for name, value in run.items()}


def record_hash(record: RunRecord) -> str:
    """Hash of what came out, to the bit; the requests have their own, `Workload.fingerprint`."""
    digest = hashlib.sha256()
    for name, values in sorted(outcome_columns(record).items()):
        digest.update(f"{name} {values.dtype} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


def write_record(record: RunRecord, path: Path) -> Path:
    """Write a record, complete or not at all."""
    asked, came = record.workload, {name: getattr(record, name) for name in _CAME}
    columns = {name: pa.array(getattr(asked, field)) for name, field in _ASKED.items()}
    columns |= {name: pa.array(values) for name, values in came.items()}
    if record.token_s:
        columns[_TOKENS] = _lists(np.concatenate(record.token_s), _offsets([len(times) for times in record.token_s]))
    if asked.block_hashes is not None:
        columns[_HASHES] = _lists(asked.block_hashes.hash_ids, asked.block_hashes.hash_offsets)
    scalars = {name: getattr(record, name) for name in _SCALARS}
    block = None if asked.block_hashes is None else asked.block_hashes.block_tokens
    meta = {"format": FORMAT, "workload": asked.name, "block_tokens": block, **scalars}
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(meta)})
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}.part")
    pq.write_table(table, staging, compression="zstd")
    staging.replace(path)
    return path


def read_record(path: Path | str) -> RunRecord:
    """The record in a file of `write_record`.

    Raises:
        RecordFileError: If the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordFileError(f"{path}: no such record; give the Parquet file that a comparison has written")
    try:
        table = pq.read_table(path)
        meta = json.loads((table.schema.metadata or {})[_META])
        if meta["format"] != FORMAT:
            raise RecordFileError(f"{path}: format is {meta['format']!r}, this version reads {FORMAT!r}")
        return _record(table, meta)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, RecordFileError):
            raise
        raise RecordFileError(f"{path}: not a record of a run, or a damaged one ({error!r})") from None


def _record(table: pa.Table, meta: Mapping[str, Any]) -> RunRecord:
    asked = {field: _values(table, name) for name, field in _ASKED.items()}
    hashes = PrefixHashes(*_flat(table, _HASHES), meta["block_tokens"]) if _HASHES in table.column_names else None
    tokens: tuple[NDArray[np.float64], ...] = ()
    if _TOKENS in table.column_names:
        values, offsets = _flat(table, _TOKENS)
        tokens = tuple(values[start:end] for start, end in pairwise(offsets))
    fields: dict[str, Any] = {name: _values(table, name) for name in _CAME} | {name: meta[name] for name in _SCALARS}
    return RunRecord(Workload(meta["workload"], **asked, block_hashes=hashes), token_s=tokens, **fields)


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()


def _lists(values: NDArray[Any], offsets: NDArray[np.int64]) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))


def _flat(table: pa.Table, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of a column of lists one after the other, and where each list begins, and the end."""
    lists = table.column(name).combine_chunks()
    return lists.flatten().to_numpy(), _offsets(lists.value_lengths().to_numpy())


def _offsets(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)
