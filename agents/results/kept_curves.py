"""The recorded curves of capacity: one Parquet file, a line for each kind of traffic, arm and training seed, in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agents.record_file import RecordFileError
from agents.results.kept import write_whole_numbers

LOAD_STEP, QOE_STEP = 1e-5, 1e-4
"""What loads and QoE are rounded to."""

Curves = dict[str, dict[str, dict[str, Any]]]
"""By workload, then arm: the hash of what made it, and by training seed the loads and the QoE there, shape (workloads, loads)."""

_TEXTS = ("workload", "arm", "hash", "seed")
_NUMBERS = ("loads", "qoe")


def write_curves(curves: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> Path:
    """Write curves, complete or not at all."""
    found = [
        (workload, arm, entry["hash"], seed, one)
        for workload, by_arm in curves.items()
        for arm, entry in by_arm.items()
        for seed, one in entry["seeds"].items()
    ]
    columns = {name: pa.array([one[place] for one in found], pa.string()) for place, name in enumerate(_TEXTS)}
    for name, step in zip(_NUMBERS, (LOAD_STEP, QOE_STEP), strict=True):
        whole = [np.round(np.ravel(one[-1][name]) / step).astype(int).tolist() for one in found]
        columns[name] = pa.array(whole, pa.list_(pa.int32()))
    return write_whole_numbers(columns, path, _TEXTS, _NUMBERS)


def read_curves(path: Path) -> Curves:
    """The curves of a file of `write_curves`; none if there is no such file.

    Raises:
        RecordFileError: If it is damaged or of another kind.
    """
    curves: Curves = {}
    if not path.is_file():
        return curves
    try:
        for row in pq.read_table(path).to_pylist():
            by_arm = curves.setdefault(row["workload"], {})
            entry = by_arm.setdefault(row["arm"], {"hash": row["hash"], "seeds": {}})
            loads = np.array(row["loads"]) * LOAD_STEP
            qoe = (np.array(row["qoe"]) * QOE_STEP).reshape(-1, len(loads))
            entry["seeds"][row["seed"]] = {"loads": loads.tolist(), "qoe": qoe.tolist()}
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise RecordFileError(
            f"{path}: no recorded curves, or damaged ({error!r}); remove it, or give recorded=null"
        ) from None
    return curves
