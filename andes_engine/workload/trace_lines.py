"""Trace files as rows, one line at a time: CSV of a known header, or Mooncake's JSON lines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from andes_engine.errors import TraceFormatError
from andes_engine.workload.prefix import HASH_BLOCK_TOKENS
from andes_engine.workload.trace_format import MAX_TOKENS, Row, TraceFormat, sniff

MAX_LINE_BYTES = 2**24
"""A longer line than this is no line of a trace, and is not read into memory."""

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_MOONCAKE = '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, ...]}'
_MS_PER_S = 1000.0


def rows_of(path: Path) -> Iterator[Row]:
    """The requests of a trace file in the order of its lines; nothing but the current line is kept.

    Raises:
        TraceFormatError: At the first line that is wrong, with file, line and remedy.
    """
    return _json_rows(path) if _is_json(path) else _csv_rows(path)


def has_times(path: str | Path) -> bool:
    """Whether a trace file says when requests arrive, so that it can be replayed; reads its first line only."""
    path = Path(path)
    if _is_json(path):
        return True
    return _csv_format(csv.reader(_lines(path)), path)[1].time is not None


def _is_json(path: Path) -> bool:
    """By the name, or else by content: no CSV header begins with a brace or bracket."""
    if not path.is_file():
        raise TraceFormatError(f"{path}: no such file; give the path of a trace in CSV or JSON lines")
    if path.suffix.lower() in _JSON_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))
    except OSError as error:
        raise TraceFormatError(f"{path}: cannot be read ({error})") from None


def _lines(path: Path) -> Iterator[str]:
    """Lines of text with their ends. Decoded one by one, because only then an error knows its line."""
    with path.open("rb") as file:
        for line, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(raw) > MAX_LINE_BYTES:
                raise TraceFormatError(
                    f"{path}, line {line}: longer than {MAX_LINE_BYTES:,} bytes; give one request a line"
                )
            try:
                yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise TraceFormatError(
                    f"{path}, line {line}: not text in UTF-8 ({error.reason} at byte {error.start}); "
                    "unpack it if compressed, or convert it with iconv -t UTF-8"
                ) from None


def _csv_format(reader: Any, path: Path) -> tuple[list[str], TraceFormat]:
    header = [name.strip() for name in next(_csv_lines(reader, path), [])]
    return header, sniff(header, path)


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(_lines(path))
    header, known = _csv_format(reader, path)
    for fields in _csv_lines(reader, path):
        if not fields:
            continue
        if len(fields) != len(header):
            raise TraceFormatError(
                f"{path}, line {reader.line_num}: {len(fields)} fields, the header has {len(header)}; "
                "mend or remove this line"
            )
        yield known.row(dict(zip(header, fields, strict=True)), path, reader.line_num)


def _csv_lines(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise TraceFormatError(
            f"{path}, line {reader.line_num}: cannot be read as CSV ({error}); lines end with LF or CR LF, fields are "
            "divided by commas; mend this line"
        ) from None


def _json_rows(path: Path) -> Iterator[Row]:
    """Requests of a trace in the format of Mooncake (FAST '25): times in ms, hashes of blocks of 512 prompt tokens."""
    for line, text in enumerate(_lines(path), 1):
        if text.strip():
            yield _mooncake_row(text, path, line)


def _mooncake_row(text: str, path: Path, line: int) -> Row:
    where = f"{path}, line {line}"
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceFormatError(f"{where}: not JSON ({error}); every line must be like {_MOONCAKE}") from None
    if not isinstance(given, dict):
        raise TraceFormatError(f"{where}: {_shown(given)} is no JSON object; every line must be like {_MOONCAKE}")
    missing = [key for key in ("timestamp", "input_length", "output_length", "hash_ids") if key not in given]
    if missing:
        raise TraceFormatError(
            f"{where}: no {' and no '.join(missing)}; every line must be like {_MOONCAKE}, with [] for unknown hash_ids"
        )
    output = _count(given, "output_length", 0, where)
    prompt = _count(given, "input_length", 1 if output else 0, where)
    return Row(line, _time_s(given["timestamp"], where), prompt, output, np.nan, _ids(given["hash_ids"], prompt, where))


def _time_s(given: Any, where: str) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not (number and 0 <= given <= sys.float_info.max):
        raise TraceFormatError(
            f"{where}: timestamp = {_shown(given)} must be a number of milliseconds >= 0; mend or remove this line"
        )
    return given / _MS_PER_S


def _count(given: dict[str, Any], key: str, lowest: int, where: str) -> int:
    value = given[key]
    if type(value) is not int or not lowest <= value <= MAX_TOKENS:
        raise TraceFormatError(
            f"{where}: {key} = {_shown(value)} must be a whole number from {lowest} to {MAX_TOKENS:,}; "
            "mend or remove this line"
        )
    return value


def _ids(given: Any, prompt: int, where: str) -> Sequence[int]:
    if not isinstance(given, list) or not all(type(one) is int and 0 <= one < 2**63 for one in given):
        raise TraceFormatError(
            f"{where}: hash_ids = {_shown(given)} must be a list of whole numbers >= 0; mend or remove this line"
        )
    blocks = -(-prompt // HASH_BLOCK_TOKENS)
    if len(given) not in (0, blocks):
        raise TraceFormatError(
            f"{where}: {len(given)} hash_ids for input_length = {prompt}, which has {blocks} blocks of "
            f"{HASH_BLOCK_TOKENS} tokens; give one for each block, or [] where they are unknown"
        )
    return given


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
