"""Decisions in a file, each with all it was made from: one JSON object per line, arrays as compressed safetensors.

The first line says which version and limits the others were made with. Nothing in it is executable: no pickle.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from andes_engine import __version__
from andes_engine.decision_buffers import N_ADMIT, N_ORDER, N_PREEMPT, Decision
from andes_engine.engine import EngineView
from andes_engine.errors import TraceFormatError
from andes_engine.knobs import KNOB_NAMES
from andes_engine.lengths import HAZARD
from andes_engine.plan_memory import PlanMemory
from andes_engine.request import REQUEST, Requests

FORMAT = "andes-decisions-1"
Arrays = dict[str, NDArray[Any]]


class TracedDecision(NamedTuple):
    """One decision.

    Attributes:
        number: Its place since the server started; a gap means that some were not kept.
        inputs: `rows`, `running`, `waiting`, `view`, `knobs`, and the memory of the calls before.
        outputs: `head`, `preempt`, `admit`, `order` and `paused`.
    """

    number: int
    inputs: Arrays
    outputs: Arrays


def header(scheduler: int, max_num_seqs: int, step_time: NDArray[np.float64]) -> dict[str, Any]:
    """What all decisions of a file have in common."""
    return {
        "format": FORMAT,
        "version": __version__,
        "request": [list(field) for field in _request_fields()],
        "knobs": list(KNOB_NAMES),
        "scheduler": scheduler,
        "max_num_seqs": max_num_seqs,
        "step_time": [float(value).hex() for value in step_time],
    }


def inputs_of(
    table: Requests,
    running: NDArray[np.int64],
    waiting: NDArray[np.int64],
    view: EngineView,
    knobs: NDArray[np.float64],
    memory: PlanMemory,
) -> Arrays:
    """Copies of all that a decision reads, before it is made: only live rows, and of what was learned only what is used."""
    rows = np.concatenate([running, waiting])
    learned = int(memory.length_kind[0]) == HAZARD
    return {
        "rows": np.ascontiguousarray(table[rows]).view(np.uint8).reshape(len(rows), REQUEST.itemsize),
        "running": running.copy(),
        "waiting": waiting.copy(),
        "view": np.array(view, dtype=np.float64),
        "knobs": np.array(knobs, dtype=np.float64),
        "table_rows": np.array([len(table)], dtype=np.int64),
        "rhythm": memory.rhythm.copy(),
        "ranking": memory.ranking[: 1 + int(memory.ranking[0])].copy(),
        "user_service": memory.user_service.copy(),
        "length_kind": memory.length_kind.copy(),
        "hazard": memory.hazard.copy() if learned else np.zeros(0),
    }


def outputs_of(decision: Decision, table: Requests, running: NDArray[np.int64]) -> Arrays:
    """Copies of what was decided."""
    head = decision.head
    return {
        "head": head.copy(),
        "preempt": decision.preempt[: head[N_PREEMPT]].copy(),
        "admit": decision.admit[: head[N_ADMIT]].copy(),
        "order": decision.order[: head[N_ORDER]].copy(),
        "paused": np.array(table["paused"][running]),
    }


def line_of(traced: TracedDecision) -> bytes:
    """The line of a file that holds a decision."""
    data = {kind: _packed(getattr(traced, kind)) for kind in ("inputs", "outputs")}
    return json.dumps({"number": traced.number, **data}).encode() + b"\n"


def read_trace(path: Path) -> tuple[dict[str, Any], Iterator[TracedDecision]]:
    """Header and decisions of a file. A last line that was cut off by a crash is passed over.

    Raises:
        TraceFormatError: If the file is missing, no trace, or damaged; the message names file and line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise TraceFormatError(f"{path}: cannot read the trace ({error})") from None
    try:
        head = json.loads(lines[0])
        form = head["format"]
    except (ValueError, KeyError, TypeError):
        raise TraceFormatError(f"{path}: no trace of decisions; give the file that 'trace.path' named") from None
    if form != FORMAT:
        raise TraceFormatError(
            f"{path}: format is {form!r}, this version reads {FORMAT!r}; use the version that wrote it"
        )
    if head["request"] != [list(field) for field in _request_fields()] or head["knobs"] != list(KNOB_NAMES):
        raise TraceFormatError(f"{path}: made by a version with other requests or knobs; use the version that wrote it")
    return head, (_decision(path, number, line) for number, line in enumerate(lines[1:-1], 2))


def _decision(path: Path, number: int, line: bytes) -> TracedDecision:
    try:
        entry = json.loads(line)
        return TracedDecision(int(entry["number"]), _unpacked(entry["inputs"]), _unpacked(entry["outputs"]))
    except (ValueError, KeyError, TypeError, zlib.error, SafetensorError) as error:
        raise TraceFormatError(f"{path}, line {number}: damaged ({error})") from None


def _packed(arrays: Arrays) -> str:
    return base64.b64encode(zlib.compress(save(arrays), 1)).decode()


def _unpacked(text: str) -> Arrays:
    return load(zlib.decompress(base64.b64decode(text, validate=True)))


def _request_fields() -> list[tuple[str, str, int]]:
    assert REQUEST.fields is not None
    return [(name, kind.str, offset) for name, (kind, offset, *_) in REQUEST.fields.items()]
