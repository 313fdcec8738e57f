"""The recorded curves of capacity: one Parquet file, a line for each kind of traffic, arm and training seed, in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from agents.results.kept import read_whole_numbers, whole, write_whole_numbers

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
        columns[name] = pa.array([whole(np.ravel(one[-1][name]), step) for one in found], pa.list_(pa.int32()))
    return write_whole_numbers(columns, path, _TEXTS, _NUMBERS)


def read_curves(path: Path) -> Curves:
    """The curves of a file of `write_curves`; none if there is no such file.

    Raises:
        RecordFileError: If it is damaged or of another kind.
    """
    curves: Curves = {}
    for row, found in read_whole_numbers(path, _curve, "curves"):
        entry = curves.setdefault(row["workload"], {}).setdefault(row["arm"], {"hash": row["hash"], "seeds": {}})
        entry["seeds"][row["seed"]] = found
    return curves


def _curve(row: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    loads = np.array(row["loads"]) * LOAD_STEP
    qoe = (np.array(row["qoe"]) * QOE_STEP).reshape(-1, len(loads))
    return {name: row[name] for name in _TEXTS}, {"loads": loads.tolist(), "qoe": qoe.tolist()}
