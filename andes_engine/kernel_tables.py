"""Kernel times from CSV files as tables to interpolate in: the profile format of LLMServingSim.

`dense.csv` (layer, tokens, time_us), `per_sequence.csv` (layer, sequences, time_us) and `attention.csv` (prefill_chunk,
kv_prefill, n_decode, kv_decode, time_us); each time is that of one call on one device.
Source of the format: github.com/casys-kaist/LLMServingSim (MIT).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy.interpolate import RegularGridInterpolator

from andes_engine.errors import AndesError

AttentionTimes = Mapping[tuple[int, int, int, int], float]
"""(prefill chunk, tokens before it, decode sequences, context of each) -> us."""
Times = Mapping[tuple[int, ...], float]
"""Point of a grid -> time."""

_IN_EACH_LAYER = {
    "qkv_proj": 1,
    "rotary_emb": 1,
    "o_proj": 1,
    "layernorm": 2,
    "gate_up_proj": 1,
    "act_fn": 1,
    "down_proj": 1,
}
"""Calls of a dense kernel in one Llama block."""
_IN_EACH_STEP = ("embedding", "final_layernorm")
"""Dense kernels that run once in an iteration."""


class Table:
    """Times on a grid of measured points, linear between them; outside is an error, never a guess.

    Args:
        what: Names of the axes, for errors.
        times: Time at each point of a full grid, any unit.

    Raises:
        AndesError: If points of the grid are missing.
    """

    def __init__(self, what: tuple[str, ...], times: Times) -> None:
        self.what = what
        self.axes = tuple(np.unique([point[axis] for point in times]) for axis in range(len(what)))
        shape = tuple(map(len, self.axes))
        if not times or len(times) != np.prod(shape):
            raise AndesError(
                f"the profile measured {len(times)} of the {np.prod(shape)} combinations of {' x '.join(what)}; need all"
            )
        values = np.array([times[point] for point in sorted(times)]).reshape(shape)
        self._interpolate = RegularGridInterpolator(self.axes, values)

    def at(self, *point: float) -> float:
        """Time at a point.

        Raises:
            AndesError: If it lies outside of what was measured.
        """
        for name, value, axis in zip(self.what, point, self.axes, strict=True):
            if not axis[0] <= value <= axis[-1]:
                raise AndesError(f"the profile measured {axis[0]} to {axis[-1]} {name}, not {value:g}")
        return float(self._interpolate([point])[0])


def dense_table(path: Path, layers: int) -> Table:
    """Time of all dense kernels of an iteration by its tokens, us."""
    calls = {name: layers * count for name, count in _IN_EACH_LAYER.items()} | dict.fromkeys(_IN_EACH_STEP, 1)
    return Table(("tokens in an iteration",), _summed(path, "tokens", calls))


def per_sequence_table(path: Path) -> Table:
    """Time of the output head and the sampler by sampled sequences, us."""
    return Table(("sequences",), _summed(path, "sequences", {"lm_head": 1, "sampler": 1}))


def attention_times(path: Path) -> AttentionTimes:
    """Attention times of one layer as they are in the file."""
    columns = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    return {tuple(int(row[c]) for c in columns): float(row["time_us"]) for row in _read(path, (*columns, "time_us"))}  # type: ignore[misc]


def chunk_table(times: AttentionTimes) -> Table:
    """Attention of one prefill chunk alone, us."""
    alone: Times = {(p, past): time for (p, past, n, _), time in times.items() if p > 0 and n == 0}
    return Table(("prefill tokens in a chunk", "tokens before a chunk"), alone)


def decode_table(times: AttentionTimes) -> Table:
    """Attention of a batch that only decodes, us."""
    alone: Times = {(n, context): time for (p, _, n, context), time in times.items() if p == 0}
    return Table(("decode sequences", "tokens of context each"), alone)


def beside_prefill_table(times: AttentionTimes) -> Table:
    """What a decoding batch adds to the attention of a prefill chunk without tokens before it, us.

    More than it takes alone: about twice as much on an RTX 4090, so attention of a mixed iteration is no plain sum.
    """
    found: Times = {
        (p, n, context): time - times[p, 0, 0, 0]
        for (p, past, n, context), time in times.items()
        if p > 0 and past == 0 and n > 0
    }
    return Table(("prefill tokens", "decode sequences beside prefill", "tokens of context each"), found)


def _summed(path: Path, column: str, calls: Mapping[str, int]) -> Times:
    """Time of all kernels together where every one of them was measured."""
    by_layer: dict[str, dict[int, float]] = {name: {} for name in calls}
    for row in _read(path, ("layer", column, "time_us")):
        if row["layer"] not in calls:
            raise AndesError(f"{path}: unknown kernel '{row['layer']}'; known are {', '.join(calls)}")
        by_layer[row["layer"]][int(row[column])] = float(row["time_us"])
    sizes = set.intersection(*(set(times) for times in by_layer.values()))
    missing = [name for name, times in by_layer.items() if not times]
    if missing:
        raise AndesError(f"{path}: no times of {', '.join(missing)}")
    return {(size,): sum(count * by_layer[name][size] for name, count in calls.items()) for size in sizes}


def _read(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise AndesError(
            f"{path}: cannot be read ({error.strerror}); a profile has dense.csv, per_sequence.csv and attention.csv"
        ) from None
    if not rows or not set(columns) <= set(rows[0]):
        raise AndesError(f"{path}: needs rows with the columns {', '.join(columns)}")
    return rows
