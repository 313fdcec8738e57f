"""Reads the file of an offline Weights & Biases run: a LevelDB log of protocol buffers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER_BYTES, BLOCK_BYTES, RECORD_HEADER_BYTES = 7, 32768, 7
FULL, LAST = 1, 4


def records(run_dir: Path) -> list[Any]:
    """All records of the one offline run in a run directory."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    return [Record.FromString(data) for data in _entries(path.read_bytes())]


def history(run_dir: Path) -> list[dict[str, Any]]:
    """Logged values, one row for each call of `log`; nested names joined by slashes."""
    return [
        {_key(item): json.loads(item.value_json) for item in record.history.item}
        for record in records(run_dir)
        if record.WhichOneof("record_type") == "history"
    ]


def config(run_dir: Path) -> dict[str, Any]:
    """The configuration the run was started with."""
    (run,) = [record.run for record in records(run_dir) if record.WhichOneof("record_type") == "run"]
    return {_key(item): json.loads(item.value_json) for item in run.config.update}


def artifacts(run_dir: Path) -> list[Any]:
    """Artifacts the run logged."""
    kinds = [(record, record.request) for record in records(run_dir)]
    logged = [
        request.log_artifact.artifact for _, request in kinds if request.WhichOneof("request_type") == "log_artifact"
    ]
    return logged + [record.artifact for record, _ in kinds if record.WhichOneof("record_type") == "artifact"]


def updates(run_dir: Path) -> dict[str, Any]:
    """What was added to the configuration while the run went on."""
    added = [record.config for record in records(run_dir) if record.WhichOneof("record_type") == "config"]
    return {_key(item): json.loads(item.value_json) for config in added for item in config.update}


def media(run_dir: Path, path: str) -> bytes:
    """A file that a logged value names by its path."""
    (file,) = run_dir.glob(f"wandb/offline-run-*/files/{path}")
    return file.read_bytes()


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def _entries(data: bytes) -> Iterator[bytes]:
    place, parts = HEADER_BYTES, b""
    while place + RECORD_HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - place % BLOCK_BYTES
        if left < RECORD_HEADER_BYTES:  # padding at the end of a block
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + RECORD_HEADER_BYTES : place + RECORD_HEADER_BYTES + size]
        place += RECORD_HEADER_BYTES + size
        if kind in (FULL, LAST):
            yield parts
            parts = b""
