"""One line for each finished run: everything it was made from, with what, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.build import scenarios
from agents.config import WorkloadSettings
from agents.run_dir import plain
from agents.schema import ConfigError, from_mapping
from agents.suite import Run
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import BundleError
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.workload import Workload

ROWS, BUNDLES, RECORDS = "rows.jsonl", "bundles", "records"


@dataclass(frozen=True, slots=True)
class BundleRef:
    """A policy bundle: its folder beside the rows, and the hash of what it does."""

    folder: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ContenderRow:
    """A contender as plain values; the fields are those of `Contender`."""

    name: str
    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    lengths: str = "none"
    length_sigma: float = 0.6
    keep_kv: float = 0.0
    bundle: BundleRef | None = None

    @classmethod
    def of(cls, contender: Contender) -> ContenderRow:
        """A contender's; its bundle is kept in `bundles/`."""
        bundle = None
        if contender.bundle is not None:
            name = bundle_hash(contender.bundle)
            bundle = BundleRef(f"{BUNDLES}/{name}", name)
        knobs = {name: float(value) for name, value in sorted(contender.knobs.items())}
        expects = contender.lengths, contender.length_sigma
        return cls(contender.name, contender.scheduler, knobs, *expects, contender.keep_kv, bundle)

    def contender(self, run_dir: Path) -> Contender:
        """The contender again, with the bundle that lies in the run directory.

        Raises:
            BundleError: If its bundle is missing or not the one of the row.
        """
        bundle = None
        if self.bundle is not None:
            bundle = load_bundle(run_dir / self.bundle.folder)
            if bundle_hash(bundle) != self.bundle.fingerprint:
                raise BundleError(
                    f"{run_dir / self.bundle.folder}: is another policy ({bundle_hash(bundle)}) than the one of the row "
                    f"({self.bundle.fingerprint}); put that one back"
                )
        expects = self.lengths, self.length_sigma
        return Contender(self.name, self.scheduler, self.knobs, bundle, *expects, self.keep_kv)


@dataclass(frozen=True, slots=True)
class RunRow:
    """Everything that makes one run what it is; its hash is the row's id."""

    setting: str
    engine: EngineConfig
    workload: WorkloadSettings
    split: str
    load: float | None
    seed: int
    contender: ContenderRow
    fingerprint: str
    load_engine: EngineConfig | None = None
    tokens: bool = False

    @classmethod
    def of(cls, run: Run, tokens: bool) -> RunRow:
        """A run's."""
        setting, scenario = run.setting, run.scenario
        return cls(
            setting.name,
            setting.engine,
            setting.workload,
            setting.split,
            scenario.load,
            scenario.seed,
            ContenderRow.of(run.contender),
            scenario.workload.fingerprint,
            setting.load_engine,
            tokens,
        )

    @property
    def id(self) -> str:
        """Short, and the same for the same run wherever and whenever it is made."""
        return content_hash(plain(self), 12)

    def workload_again(self) -> Workload:
        """Its requests, made again from the settings.

        Raises:
            ConfigError: If they are not those of the row.
        """
        engine = self.load_engine or self.engine
        (scenario,) = scenarios(self.engine, self.workload, [self.load], [self.seed], self.split, engine)
        found = scenario.workload.fingerprint
        if found != self.fingerprint:
            source = (
                f"is {self.workload.trace} still the same file?" if self.workload.trace else "is this another version?"
            )
            raise ConfigError(f"the settings of the row make workload {found}, it ran {self.fingerprint}; {source}")
        return scenario.workload


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `rows.jsonl`.

    Args:
        row: Id of the run.
        stratum: Setting and load, as tables call it.
        run: What the run was made from.
        config_hash: Hash of the whole comparison's settings.
        made_with: Commit, platform and versions.
        metrics: `metrics.summarize` of the record.
        wall_s: How long the run took, s.
        record: Parquet file with one row per request, beside `rows.jsonl`.
        record_hash: Hash of what came out, `record_file.record_hash`.
    """

    row: str
    stratum: str
    run: RunRow
    config_hash: str
    made_with: Mapping[str, Any]
    metrics: Mapping[str, Any]
    wall_s: float
    record: str
    record_hash: str

    @property
    def line(self) -> str:
        """As it stands in the file."""
        return json.dumps(plain(self), allow_nan=False) + "\n"


def read_rows(run_dir: Path) -> list[Row]:
    """The finished runs of a run directory, each once, in the order they finished; half a last line does not count.

    Raises:
        ConfigError: If there are none, or a line is no row.
    """
    path = run_dir / ROWS
    if not path.is_file():
        raise ConfigError(f"{run_dir} has no {ROWS}; give the run directory of a comparison")
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    rows = [_row(line, f"{path}, line {number}") for number, line in enumerate(whole, 1)]
    return list({row.row: row for row in rows}.values())


def _row(line: str, where: str) -> Row:
    try:
        row = from_mapping(Row, json.loads(line))
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{where}: no row of a comparison ({error})") from None
    if row.run.id != row.row:
        raise ConfigError(
            f"{where}: row {row.row} does not hold what it was made from (that is {row.run.id}); was it edited?"
        )
    return row


def content_hash(content: Any, digits: int = 16) -> str:
    """Hash of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def bundle_hash(bundle: Bundle) -> str:
    """Hash of what a policy does: its weights, its knobs, its interval; not of its name or history."""
    digest = hashlib.sha256(json.dumps([plain(bundle.action), bundle.decision_interval_s]).encode())
    if bundle.output != "clip":
        digest.update(bundle.output.encode())
    for array in bundle.tensors().values():
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
