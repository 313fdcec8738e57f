"""A comparison from configuration to tables, results file, figures and report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.build import contenders_from
from agents.compare_report import publish, write_comparison
from agents.config import CompareConfig
from agents.estimates import profiles, summary_grid
from agents.evaluate import Outcome, differences, run_entries
from agents.lineage import lineage_of
from agents.row_store import RowStore
from agents.run_dir import RunDir, plain
from agents.run_suite import make_runs
from agents.schema import ConfigError
from agents.showcase import choose_showcase
from agents.suite import Suite
from agents.suite_file import suite_of
from agents.tracking import tracking
from andes_engine.contender import Contender
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.grid import Grid
from andes_engine.report.html import ReportFigure
from andes_engine.report.profiles import performance_profiles
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
    """Run every contender through every workload and write what came out; goes on where an earlier start was stopped.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        RunFailedError: If a run fails; the finished ones are kept.
    """
    contenders = contenders_of(config)
    suite = suite_of(config)
    runs = suite.runs(contenders)
    with RowStore(config.run_dir, suite, contenders, config.tokens) as store:
        run = RunDir.create(config.run_dir, plain(config), config.seed, go_on=True)
        with tracking(config.tracking, run.path, plain(config), run.path.name) as tracker:
            outcomes = make_runs(store, runs, config.workers, progress=True)
            result = _written(config, run, suite, contenders, outcomes)
            publish(tracker, result.grids, result.figures, config.policy)
    return result


def _written(
    config: CompareConfig, run: RunDir, suite: Suite, contenders: Sequence[Contender], outcomes: Sequence[Outcome]
) -> CompareResult:
    labels = {entry.name: entry.label for entry in contenders}
    references = [labels[name] for name in config.references]
    found = tuple(differences(outcomes, references, config.metrics, config.seed))
    summary = summary_grid(outcomes, f"Contenders: {_traffic(config)}", seed=config.seed)
    grids = (*_tables(outcomes), summary, difference_grid(found, f"Paired differences: {_traffic(config)}"))
    run.write_results({"runs": run_entries(outcomes), "differences": found})
    shown = [_shown(outcome) for outcome in outcomes]
    engines = {_panel(setting.name, load): setting.engine for setting in suite.settings for load in setting.loads}
    candidate = contenders[-1].label if config.policy or not found else found[0].candidate
    report, figures = write_comparison(
        run.path,
        "Schedulers compared",
        sentences(found, config.metrics[0]),
        grids,
        shown,
        choose_showcase(shown, engines, contenders, candidate, references[0]) if references else None,
        _origin(config, outcomes),
        load_label="load, share of FCFS saturation",
        more=(_profiles(config, outcomes),),
    )
    return CompareResult(run.path, report, grids, found, figures)


def _profiles(config: CompareConfig, outcomes: Sequence[Outcome]) -> ReportFigure:
    drawn = performance_profiles(profiles(outcomes, seed=config.seed))
    caption = "Share of requests with a QoE above each value (Agarwal et al. 2021), with pointwise 95 % bands; higher is better."
    return ReportFigure(drawn, "Performance profiles", caption)


def _shown(outcome: Outcome) -> ShownRun:
    """A run as the report takes it."""
    return ShownRun(_panel(outcome.setting, outcome.load), outcome.load or 0.0, outcome.record)


def _panel(setting: str, load: float | None) -> str:
    """A trace at its own rate has no place among the loads, so it stands alone."""
    return setting if load is not None else f"{setting}, as recorded".removeprefix(", ")


def _origin(config: CompareConfig, outcomes: Sequence[Outcome]) -> dict[str, object]:
    origin: dict[str, object] = {**provenance([outcome.record for outcome in outcomes], plain(config))}
    if config.policy:
        origin["policy"] = {key: str(value) for key, value in lineage_of(config.policy).items()}
    return origin


def _traffic(config: CompareConfig) -> str:
    if config.suite is not None:
        return f"suite {config.suite.name}"
    traffic = Path(config.trace).stem if config.trace else config.workload.name
    return f"{traffic} at loads {', '.join(f'{load:g}' for load in config.loads)}, {config.engine.name}"


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
    by_stratum: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_stratum[outcome.stratum].append(outcome)
    return [
        comparison_grid(summaries({"": [run.record for run in runs]}), _title(runs[0])) for runs in by_stratum.values()
    ]


def _title(first: Outcome) -> str:
    """A stratum's name; without settings it says neither traffic nor engine."""
    run = first.record
    return first.stratum if first.setting else f"{run.workload.name}, {first.stratum}, on {run.engine}"


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
