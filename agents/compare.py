"""A comparison from configuration to tables, results file, figures and report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.build import compare_scenarios, contenders_from
from agents.compare_report import publish, write_comparison
from agents.config import CompareConfig
from agents.evaluate import Outcome, differences, evaluate, run_entries
from agents.lineage import lineage_of
from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from agents.showcase import choose_showcase
from agents.tracking import tracking
from andes_engine.contender import Contender
from andes_engine.records import RunRecord
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.grid import Grid
from andes_engine.report.html import ReportFigure
from andes_engine.report.provenance import provenance
from andes_engine.report.shown_run import ShownRun
from andes_engine.report.tables import compare as summaries
from andes_engine.report.tables import comparison_grid


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What a comparison leaves: its directory, the report, its tables, the paired differences, and the figures."""

    run_dir: Path
    report: Path
    grids: tuple[Grid, ...]
    differences: tuple[Difference, ...]
    figures: tuple[ReportFigure, ...]


def compare(config: CompareConfig) -> CompareResult:
    """Run every contender through every workload and write what came out.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
    """
    contenders = contenders_of(config)
    scenarios = compare_scenarios(config)
    run = RunDir.create(config.run_dir, plain(config), config.seed)
    with tracking(config.tracking, run.path, plain(config), run.path.name) as tracker:
        outcomes = evaluate(config.engine, scenarios, contenders, config.workers, progress=True)
        labels = {entry.name: entry.label for entry in contenders}
        references = [labels[name] for name in config.references]
        found = tuple(differences(outcomes, references, config.metrics, config.seed))
        traffic = Path(config.trace).stem if config.trace else config.workload.name
        title = f"Paired differences: {traffic} at loads {', '.join(f'{load:g}' for load in config.loads)}, {config.engine.name}"
        grids = (*_tables(outcomes), difference_grid(found, title))
        run.write_results({"runs": run_entries(outcomes), "differences": found})
        runs = _shown(outcomes)
        candidate = contenders[-1].label if config.policy or not found else found[0].candidate
        origin = provenance([outcome.record for outcome in outcomes], plain(config))
        if config.policy:
            origin["policy"] = {key: str(value) for key, value in lineage_of(config.policy).items()}
        report, figures = write_comparison(
            run.path,
            "Schedulers compared",
            sentences(found, config.metrics[0]),
            grids,
            runs,
            choose_showcase(runs, {"": config.engine}, contenders, candidate, references[0]),
            origin,
        )
        publish(tracker, grids, figures, config.policy)
    return CompareResult(run.path, report, grids, found, figures)


def contenders_of(config: CompareConfig) -> list[Contender]:
    """Who takes part: the configured schedulers, and the policy if there is one.

    Raises:
        ConfigError: If two have one name, or a reference does not take part.
    """
    contenders = contenders_from(config.contenders, config.policy)
    names = [entry.name for entry in contenders]
    if len(set(names)) != len(names):
        raise ConfigError(f"contenders need different names, got {names}; export the policy again with name=...")
    for reference in config.references:
        if reference not in names:
            raise ConfigError(f"reference '{reference}' does not take part; contenders are {', '.join(names)}")
    return contenders


def _tables(outcomes: Sequence[Outcome]) -> list[Grid]:
    by_stratum = _by_stratum(outcomes)
    return [
        comparison_grid(summaries({"": runs}), f"{runs[0].workload.name}, {stratum}, on {runs[0].engine}")
        for stratum, runs in by_stratum.items()
    ]


def _by_stratum(outcomes: Sequence[Outcome]) -> dict[str, list[RunRecord]]:
    by_stratum: dict[str, list[RunRecord]] = defaultdict(list)
    for outcome in outcomes:
        by_stratum[outcome.stratum].append(outcome.record)
    return by_stratum


def _shown(outcomes: Sequence[Outcome]) -> list[ShownRun]:
    """Runs as the report takes them: one setting, at the median rate of each load."""
    rates = {
        stratum: float(np.median([run.workload.rate for run in runs]))
        for stratum, runs in _by_stratum(outcomes).items()
    }
    return [ShownRun("", rates[outcome.stratum], outcome.record) for outcome in outcomes]


def sentences(found: Sequence[Difference], metric: str) -> list[str]:
    """The result in words, one sentence for each pair, in the first metric."""
    said = []
    for entry in found:
        if entry.metric != metric:
            continue
        interval = f" (95 % interval {entry.low:+.3f} to {entry.high:+.3f})" if entry.has_interval else ""
        said.append(
            f"{entry.candidate} against {entry.reference}: {metric} {entry.mean:+.3f}{interval}, {entry.verdict}."
        )
    return said or ["Nothing to compare: one contender took part."]
