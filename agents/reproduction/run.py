"""The whole reproduction: one resumable suite for everything that is simulated, then sections, document and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.build import contenders_from
from agents.capacity_search import Search
from agents.config import CompareConfig, SchedulerSettings
from agents.evaluate import Outcome, differences
from agents.reproduction.document import write_document, write_html
from agents.reproduction.headlines import saving_section, times_claim
from agents.reproduction.section import Section
from agents.reproduction.statement import Statement
from agents.reproduction.statement_claims import CLAIMS
from agents.reproduction.statements import STATEMENTS
from agents.reproduction.sweeps import hour_section, sweep_section
from agents.run_dir import RunDir, made_with, plain
from agents.run_suite import run_suite
from agents.schema import ConfigError
from agents.suite import Setting, Suite
from agents.suite_file import suite_of
from agents.suite_size import Size
from andes_engine.errors import check_known
from andes_engine.report.differences import difference_grid
from andes_engine.report.provenance import provenance

SAVING_LENGTHS = ("sharegpt_multi_round", "coding")
"""Traffic of the capacity search: bursts (h = 2) with these lengths."""

SIZES = {"full": Size(1.0, 2, 3), "smoke": Size(0.1, 1, 1, every=5)}


@dataclass(frozen=True, slots=True)
class ReproduceConfig:
    """`conf/reproduce.yaml`.

    Args:
        seed: Of the bootstrap.
        run_dir: Rows, records and the report; started again with the same one, it goes on where it stopped.
        compare: The paper's suite and who takes part in it.
        capacity_contenders: Who takes part in the capacity search besides those.
        size: `full`, or `smoke` for a minute's test of every part.
        capacity: The capacity search.
        capacity_engines: Engines of the suite that it is made on.
        statements: Statements to check; all of them by default.
        out: Folder that REPRODUCTION.md and its figures are written into; the run directory by default.
        workers: Processes; 0 for one per core.

    Raises:
        UnknownNameError: If there is no such size or statement.
        ConfigError: If FCFS or Andes does not take part.
    """

    seed: int
    run_dir: str
    compare: CompareConfig
    capacity: Search
    capacity_contenders: Mapping[str, SchedulerSettings] = field(default_factory=dict)
    capacity_engines: tuple[str, ...] = ()
    size: str = "full"
    statements: tuple[str, ...] = tuple(STATEMENTS)
    out: str | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        check_known("size", (self.size,), SIZES)
        check_known("statement", self.statements, STATEMENTS)
        names = [settings.name for settings in self.compare.contenders.values()]
        if not {"fcfs", "andes"} <= set(names):
            raise ConfigError(f"fcfs and andes must take part, got {', '.join(names) or 'nobody'}")
        if self.compare.suite is None:
            raise ConfigError("give a suite, such as suite=paper")


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What it leaves: sections with claims, the document and the report."""

    sections: tuple[Section, ...]
    document: Path
    report: Path


def reproduce(config: ReproduceConfig) -> Reproduction:
    """Run what is missing and write everything anew.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        RunFailedError: If a run fails; the finished ones are kept.
    """
    started_s, size = time.monotonic(), SIZES[config.size]
    contenders = contenders_from(config.compare.contenders, None)
    whole = suite_of(config.compare).settings
    paper = size.of(whole)
    searched = _capacity_settings(config, size, whole)  # refused now, not after all has run
    statements = [STATEMENTS[key] for key in config.statements]
    checks = {statement.key: _checked(statement, size) for statement in statements}
    suite = Suite("reproduction", (*paper, *(setting for settings in checks.values() for setting in settings)))
    outcomes = run_suite(suite, contenders, config.run_dir, config.workers, progress=True)
    names = {setting.name for setting in paper}
    of_paper = [outcome for outcome in outcomes if outcome.setting in names]
    sections = [
        _paper_section(config, of_paper),
        sweep_section(of_paper),
        hour_section(of_paper),
        _saving(config, size, searched),
        *(_statement_section(statement, outcomes) for statement in statements),
    ]
    run = RunDir.create(config.run_dir, plain(config), config.seed, go_on=True)
    run.write_results({**made_with(), "claims": [claim for section in sections for claim in section.claims]})
    origin: dict[str, object] = {**provenance([outcome.record for outcome in of_paper], plain(config))}
    folder = Path(config.out) if config.out else run.path
    command = "make reproduce" if size is SIZES["full"] else f"python -m scripts.reproduce size={config.size}"
    document = write_document(folder, command, sections, time.monotonic() - started_s)
    return Reproduction(tuple(sections), document, write_html(run.path / "report.html", sections, origin))


def _checked(statement: Statement, size: Size) -> list[Setting]:
    """Runs of a statement; all of its arms whatever the size, as a statement is about them together."""
    scaled = Size(size.share, size.statement_seeds, size.statement_seeds)
    return scaled.of(statement.settings(size.statement_seeds))


def _paper_section(config: ReproduceConfig, outcomes: Sequence[Outcome]) -> Section:
    found = differences(outcomes, config.compare.references, config.compare.metrics, config.seed)
    grid = difference_grid(found, "Paired differences over the paper's suite")
    return Section("The suite as a whole", (), (grid,), (), (times_claim(outcomes),))


def _capacity_settings(config: ReproduceConfig, size: Size, paper: Sequence[Setting]) -> list[Setting]:
    bursts = [size.scaled(setting) for setting in paper if setting.name.endswith("h 2.0")]
    check_known("engine of the suite", config.capacity_engines, {setting.engine.name for setting in bursts})
    return [
        setting
        for setting in bursts
        if setting.workload.lengths in SAVING_LENGTHS and setting.engine.name in config.capacity_engines
    ]


def _saving(config: ReproduceConfig, size: Size, chosen: Sequence[Setting]) -> Section:
    engines = list({setting.engine.name: setting.engine for setting in chosen}.values())
    workloads = list({setting.workload.name: setting.workload for setting in chosen}.values())
    who = contenders_from({**config.compare.contenders, **config.capacity_contenders}, None)
    if size.share < 1.0:
        engines, workloads = engines[:1], workloads[:1]
    return saving_section(engines, workloads, who, size.search(config.capacity), config.workers)


def _statement_section(statement: Statement, outcomes: Sequence[Outcome]) -> Section:
    found = statement.found(outcomes)
    claims = (CLAIMS[statement.key](found),) if statement.key in CLAIMS else ()
    source = f"Source of the statement: {statement.source}."
    return Section(statement.title, (source,), (statement.grid(found),), (), claims)
