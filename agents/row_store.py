"""The rows and records of a comparison on disk: every finished run is kept at once, a killed one loses nothing else."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from agents.json_file import drop_half_a_line
from agents.record_file import RecordFileError, read_record, record_hash, write_record
from agents.rows import BUNDLES, RECORDS, ROWS, ContenderRow, Row, RunRow, bundle_hash, content_hash, read_rows
from agents.run_dir import CONFIG, made_with, plain, write_text
from agents.schema import ConfigError
from agents.suite import Run, Suite
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord

SUITE = "suite.json"


class RowStore:
    """Rows of one run directory; a context manager that keeps other processes out while it is open.

    | file | content |
    |---|---|
    | `suite.json` | what is run: settings and contenders in full |
    | `rows.jsonl` | one line for each finished run |
    | `records/ROW.parquet` | its record, one row per request |
    | `bundles/HASH/` | the policies that take part |

    Args:
        run_dir: Made if it is not there.
        suite: What is run.
        contenders: Who takes part.
        tokens: Whether records keep the time of every token.

    Raises:
        ConfigError: If the runs of another comparison are there, or another process is writing.
    """

    def __init__(
        self, run_dir: Path | str, suite: Suite, contenders: Sequence[Contender], tokens: bool = False
    ) -> None:
        self.path = Path(run_dir)
        self.tokens = tokens
        self._made_with = made_with()
        described = describe(suite, contenders, tokens)
        self._config_hash = content_hash(described)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lines = self._locked()
        try:
            self._start_or_go_on(described)
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()

    def found(self, runs: Sequence[Run]) -> dict[int, RunRecord]:
        """Records that are there already, by the place of their run; one that is missing or damaged is told and made again."""
        rows = {row.row: row for row in read_rows(self.path)}
        ids = {self.row_id(run): place for place, run in enumerate(runs)}
        if unknown := [row for row in rows if row not in ids]:
            raise ConfigError(
                f"{self.path / ROWS}: {len(unknown)} rows, {unknown[0]} first, are of requests that these settings do not make; "
                "was the trace changed, or is this another version? Give another run_dir"
            )
        self._tell_other_versions(rows.values())
        read = {ids[name]: self._read(row, runs[ids[name]]) for name, row in rows.items()}
        return {place: record for place, record in read.items() if record is not None}

    def row_id(self, run: Run) -> str:
        """Id of the row of a run."""
        return RunRow.of(run, self.tokens).id

    def add(self, run: Run, record: RunRecord, wall_s: float) -> Row:
        """Keep a finished run: first its record, then its row."""
        made_from = RunRow.of(run, self.tokens)
        file = f"{RECORDS}/{made_from.id}.parquet"
        write_record(record, self.path / file)
        row = Row(
            made_from.id,
            run.stratum,
            made_from,
            self._config_hash,
            self._made_with,
            summarize(record),
            round(wall_s, 3),
            file,
            record_hash(record),
        )
        self._lines.write(row.line)
        self._lines.flush()
        os.fsync(self._lines.fileno())
        return row

    def _locked(self) -> TextIO:
        lines = (self.path / ROWS).open("a+", encoding="utf-8")
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lines.close()
            raise ConfigError(
                f"another process is writing to {self.path}; wait for it, or give another run_dir"
            ) from None
        return lines

    def _start_or_go_on(self, described: Mapping[str, Any]) -> None:
        path = self.path / SUITE
        if not path.is_file() and (self.path / CONFIG).exists():
            raise ConfigError(f"{self.path} holds another kind of run; give another run_dir, or remove that one")
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            if change := first_difference(before, described):
                raise ConfigError(
                    f"{self.path} holds runs of other settings: {change}; give another run_dir, or those settings"
                )
        drop_half_a_line(self.path / ROWS)
        write_text(path, json.dumps(described, indent=1))

    def _read(self, row: Row, run: Run) -> RunRecord | None:
        try:
            record = read_record(self.path / row.record)
        except RecordFileError as error:
            print(f"row {row.row} is run again: {error}")
            return None
        if record_hash(record) != row.record_hash or record.workload != run.scenario.workload:
            print(f"row {row.row} is run again: {self.path / row.record} is not the record it was")
            return None
        return record

    def _tell_other_versions(self, rows: Any) -> None:
        changes = {change for row in rows if (change := first_difference(row.made_with, self._made_with))}
        for change in sorted(changes):
            print(f"note: some rows in {self.path} were made by other versions: {change}")

    def keep_bundles(self, runs: Sequence[Run]) -> None:
        """Put the policies that take part beside the rows, so that these can be made again."""
        bundles = {bundle_hash(run.contender.bundle): run.contender.bundle for run in runs if run.contender.bundle}
        for name, bundle in bundles.items():
            if not (self.path / BUNDLES / name).is_dir():
                bundle.save(self.path / BUNDLES / name)


def describe(suite: Suite, contenders: Sequence[Contender], tokens: bool) -> dict[str, Any]:
    """What is run, as plain values: whatever changes a run is in it, and nothing else."""
    settings = {}
    for setting in suite.settings:
        taking_part = setting.contenders or contenders
        described = {
            key: getattr(setting, key) for key in ("engine", "workload", "loads", "seeds", "split", "load_engine")
        }
        settings[setting.name] = {**described, "contenders": {entry.name: _described(entry) for entry in taking_part}}
    return plain({"settings": settings, "tokens": tokens})


def _described(contender: Contender) -> dict[str, Any]:
    return plain(ContenderRow.of(contender))


def first_difference(before: Any, now: Any, where: str = "") -> str:
    """The first value that differs between two plain mappings, as `path was X, is Y`; empty if none does."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            found = first_difference(
                before.get(key), now.get(key), ".".join(part for part in (where, str(key)) if part)
            )
            if found:
                return found
        return ""
    return "" if before == now else f"{where} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    return "another" if isinstance(value, Mapping) else repr(value)
