"""A row made again from what it holds, and compared with its record to the bit."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.record_file import outcome_columns, read_record, record_hash, write_record
from agents.row_store import first_difference
from agents.rows import ROWS, Row, read_rows
from agents.run_dir import made_with
from agents.schema import ConfigError
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """`conf/replay.yaml`.

    Args:
        row: Run directory of a comparison, or its `rows.jsonl`, then `#` and the row's id; a unique beginning of it is enough.
        out: Parquet file for the new record; by default nothing is written.
    """

    row: str
    out: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it.

    Args:
        row: The row.
        differing: For each column that differs, how: values, and by how much.
        other_versions: What this process has in another version than the row was made with.
    """

    row: Row
    differing: tuple[str, ...]
    other_versions: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result in words."""
        row = self.row
        said = f"row {row.row}, '{row.run.contender.name}' in '{row.stratum}', seed {row.run.seed}"
        with_what = [f"made with another version: {change}" for change in self.other_versions]
        if not self.differing:
            return [f"{said}: identical, bit for bit", *with_what]
        return [f"{said}: differs in {len(self.differing)} columns", *self.differing, *with_what]


def replay(config: ReplayConfig) -> Replay:
    """Run a row again: engine, workload and contender from the row alone, a policy from `bundles/` beside it.

    Raises:
        ConfigError: If there is no such row, or its settings make other requests than it ran.
        BundleError: If its policy is missing, or another one.
        RecordFileError: If its record is missing, damaged or not the one that was written.
    """
    run_dir, row = find_row(config.row)
    run = row.run
    contender, workload = run.contender.contender(run_dir), run.workload_again()
    kept = read_record(run_dir / row.record)
    if record_hash(kept) != row.record_hash:
        raise ConfigError(f"{run_dir / row.record} is not the record that the row was written with; was it changed?")
    made = run_simulated(run.engine, workload, contender, token_log=run.tokens)
    if config.out:
        write_record(made, Path(config.out))
    now = made_with()
    changed = (first_difference(row.made_with.get(key), now[key], key) for key in now)
    return Replay(row, tuple(differences(kept, made)), tuple(change for change in changed if change))


def find_row(given: str) -> tuple[Path, Row]:
    """A row and the run directory it lies in, from ``RUN_DIR#ID``.

    Raises:
        ConfigError: If it is no such text, or not exactly one row begins so.
    """
    place, mark, wanted = given.rpartition("#")
    if not (mark and place and wanted):
        raise ConfigError(f"row = '{given}' must be a run directory, '#' and the id of a row: row=RUN_DIR#ID")
    run_dir = Path(place).parent if Path(place).name == ROWS else Path(place)
    rows = read_rows(run_dir)
    found = [row for row in rows if row.row.startswith(wanted)]
    if len(found) > 1:
        raise ConfigError(
            f"{len(found)} rows begin with '{wanted}': {', '.join(row.row for row in found[:5])}; say more of it"
        )
    if not found:
        near = difflib.get_close_matches(wanted, [row.row for row in rows], n=3, cutoff=0.0)
        raise ConfigError(
            f"none of the {len(rows)} rows of {run_dir} begins with '{wanted}'; the nearest: {', '.join(near)}"
        )
    return run_dir, found[0]


def differences(kept: RunRecord, made: RunRecord) -> Iterator[str]:
    """One line for each column that is not the same to the bit."""
    before, now = outcome_columns(kept), outcome_columns(made)
    for name in [*before, *(name for name in now if name not in before)]:
        if name not in before or name not in now:
            yield f"{name}: only in the {'record' if name in before else 'replay'}"
        elif said := _difference(before[name], now[name]):
            yield f"{name}: {said}"


def _difference(before: NDArray[Any], now: NDArray[Any]) -> str:
    if before.dtype != now.dtype or before.shape != now.shape:
        return f"{before.dtype} of shape {before.shape}, now {now.dtype} of shape {now.shape}"
    if before.tobytes() == now.tobytes():
        return ""
    bits = before.dtype.itemsize
    other = (before.view(np.uint8).reshape(-1, bits) != now.view(np.uint8).reshape(-1, bits)).any(axis=1)
    apart = np.nan_to_num(np.abs(before[other].astype(np.float64) - now[other].astype(np.float64)))
    first = int(np.argmax(other))
    return (
        f"{other.sum()} of {len(other)} values, by at most {apart.max():.3g}; the first is {first}: "
        f"{before[first]}, now {now[first]}"
    )
