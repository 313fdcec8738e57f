"""The best fixed setting of a scheduler: searched on training workloads, judged on others, written where it is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

import conf
from agents.config import CompareConfig, SchedulerSettings, TrackingSettings, WorkloadSettings
from agents.evaluate import Outcome, differences
from agents.json_file import write_json
from agents.pool import completed
from agents.run_dir import RunDir, plain, write_text
from agents.schema import ConfigError
from agents.suite import Setting, Suite
from agents.suite_file import suite_of
from agents.suite_settings import SuiteSettings
from agents.tune_objective import ObjectiveSettings
from agents.tune_report import history_figure, study_record, trials_grid
from agents.tune_search import Plan, run_trials
from agents.tune_space import SearchSettings
from agents.tune_study import StudySettings, best_trials, counts, load_study, study_folder
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.figures import save
from andes_engine.report.grid import Grid
from andes_engine.report.provenance import commit

METRICS = ("qoe_mean", "qoe_p10", "late_share", "ttft_max_s", "tokens_per_s")
"""What a winner is judged in; it must be better in the first and not worse in `TAIL`."""

TAIL = ("qoe_p10", "late_share")


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """`conf/tune.yaml`.

    Args:
        seed: Of the sampler, the order of workloads and the bootstrap; which workloads are drawn is fixed.
        run_dir: Where the study and all else goes; a search that is there goes on.
        engine: The simulated engine, without a suite.
        workload: Traffic, without a suite.
        reference: What the winner must beat.
        search: What may be chosen.
        start: Settings that are tried first.
        suite: Grids of training workloads, none of them of the held-out split.
        objective: What is made large.
        study: How to search.
        trace: Recorded trace, for a suite that needs one.
        loads: Loads, where no grid says.
        seeds: Workloads at each load, where no grid says.
        validation_seeds: Workloads of the validation split in every setting, at every load.
        write: Whether a winner becomes a scheduler file, with a record of its search.
        conf_dir: Folder of the scheduler file; by default that of the project.
        record_dir: Folder of the record.

    Raises:
        ConfigError: If there are no validation workloads.
    """

    seed: int
    run_dir: str
    engine: EngineConfig
    workload: WorkloadSettings
    reference: SchedulerSettings
    search: SearchSettings
    start: Mapping[str, SchedulerSettings] = field(default_factory=dict)
    suite: SuiteSettings | None = None
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    study: StudySettings = field(default_factory=StudySettings)
    trace: str | None = None
    loads: tuple[float, ...] = (0.8, 1.0, 1.2)
    seeds: int = 2
    validation_seeds: int = 3
    write: bool = False
    conf_dir: str | None = None
    record_dir: str = "docs/tuning"

    def __post_init__(self) -> None:
        if self.validation_seeds < 1:
            raise ConfigError(f"validation_seeds = {self.validation_seeds} must be at least 1")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search came to.

    Args:
        run_dir: Where everything is.
        setting: The best setting.
        found: It against the reference on the validation workloads.
        grids: Tables.
        written: The scheduler file, if the setting won and was to be written.
    """

    run_dir: Path
    setting: SchedulerSettings
    found: tuple[Difference, ...]
    grids: tuple[Grid, ...]
    written: Path | None

    @property
    def won(self) -> bool:
        """Whether it is better than the reference."""
        return is_better(self.found)

    @property
    def sentence(self) -> str:
        """The result in words."""
        first = self.found[0]
        against = f"{first.metric} {first.mean:+.4f} (95 % interval {first.low:+.4f} to {first.high:+.4f})"
        verdict = "the winner" if self.won else "not better with a tail no worse, so nothing is written"
        return f"On validation workloads the best trial has {against} against {first.reference}: {verdict}."


def tune(config: TuneConfig, command: str = "", progress: bool = False) -> Tuned:
    """Search, judge the best setting on the validation split, and write it if it is better; goes on where it stopped.

    Args:
        config: What to search.
        command: How to repeat it, for the files written.
        progress: Whether to show progress bars (only on a terminal).

    Raises:
        ConfigError: If the search cannot work, or the run directory holds another one.
        StudyError: If the journal is damaged or full, or no trial was finished.
    """
    settings = training_settings(config)
    plan = _plan(config, settings)
    with study_folder(plan.run_dir, described(config, settings), config.search.starts(config.start.values())):
        run = RunDir.create(config.run_dir, plain(config), config.seed, go_on=True)
        run_trials(plan, progress)
        return _judged(config, plan, run, command)


def training_settings(config: TuneConfig) -> tuple[Setting, ...]:
    """Where training workloads come from.

    Raises:
        ConfigError: If the suite reads from the held-out or the validation split.
    """
    compared = CompareConfig(
        config.seed,
        config.run_dir,
        config.engine,
        config.workload,
        {},
        TrackingSettings(),
        config.suite,
        trace=config.trace,
        loads=config.loads,
        seeds=config.seeds,
        split="tuning",
    )
    settings = suite_of(compared).settings
    for setting in settings:
        if setting.split != "tuning":
            raise ConfigError(
                f"setting '{setting.name}' is of the {setting.split} split, which a search must not see; "
                "take a suite whose grids have split: tuning, or none"
            )
    return settings


def validation_settings(config: TuneConfig, settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """The same settings with workloads that the search has not seen."""
    return tuple(replace(setting, split="validation", seeds=config.validation_seeds) for setting in settings)


def described(config: TuneConfig, settings: Sequence[Setting]) -> dict[str, Any]:
    """Whatever makes a search what it is: how long it goes on and with how many processes is not in it."""
    study = {key: value for key, value in plain(config.study).items() if key not in ("trials", "minutes", "workers")}
    return {
        "search": plain(config.search),
        "objective": plain(config.objective),
        "study": study,
        "reference": plain(config.reference),
        "start": plain(config.start),
        "seed": config.seed,
        "workloads": {setting.name: plain(setting) for setting in settings},
    }


def is_better(found: Sequence[Difference]) -> bool:
    """Better in mean QoE beyond doubt, and no worse in the tail: an average alone rewards giving up on the late."""
    verdicts = {entry.metric: entry.verdict for entry in found}
    return verdicts[METRICS[0]] == "better" and all(verdicts[key] != "worse" for key in TAIL)


def _plan(config: TuneConfig, settings: tuple[Setting, ...]) -> Plan:
    return Plan(
        Path(config.run_dir),
        config.search,
        settings,
        _reference(config),
        config.objective,
        config.study,
        config.seed,
    )


def _reference(config: TuneConfig) -> Contender:
    """The reference, under a name that the winner does not have."""
    contender = config.reference.contender
    return replace(contender, name=f"{contender.name} before") if contender.name == config.search.name else contender


def _judged(config: TuneConfig, plan: Plan, run: RunDir, command: str) -> Tuned:
    study = load_study(plan.run_dir)
    best = best_trials(study)[0]
    setting = config.search.setting(best.params)
    found = _validated(config, plan, setting.contender)
    save(history_figure(study.get_trials(deepcopy=False)), run.path / "figures" / "history")
    record = {
        "command": command,
        **study_record(study, config.search),
        "winner": setting,
        "better": is_better(found),
        "validation": found,
        "objective": config.objective,
        "suite": config.suite.name if config.suite else None,
    }
    run.write_results(record)
    written = None
    if config.write and is_better(found):
        written = _write(config, setting, _header(command, counts(study), found[0], config))
        write_json(Path(config.record_dir) / f"{config.search.name}.json", record)
    grids = (
        trials_grid(best_trials(study), config.search),
        difference_grid(found, "Best trial against the reference, validation workloads"),
    )
    return Tuned(run.path, setting, found, grids, written)


def _validated(config: TuneConfig, plan: Plan, candidate: Contender) -> tuple[Difference, ...]:
    suite = Suite("validation", validation_settings(config, plan.settings))
    runs = suite.runs([plan.reference, candidate])
    outcomes = {
        done.place: Outcome(runs[done.place].stratum, done.record)
        for done in completed([run.job for run in runs], plan.study.workers)
    }
    ordered = [outcomes[place] for place in range(len(runs))]
    return tuple(differences(ordered, [plan.reference.label], METRICS, config.seed))


def _write(config: TuneConfig, setting: SchedulerSettings, header: Sequence[str]) -> Path:
    folder = Path(config.conf_dir) if config.conf_dir else Path(next(iter(conf.__path__))) / "scheduler"
    content = yaml.safe_dump(plain(setting), sort_keys=False)
    return write_text(folder / f"{setting.name}.yaml", "".join(f"# {line}\n" for line in header) + content)


def _header(command: str, tried: Mapping[str, int], first: Difference, config: TuneConfig) -> list[str]:
    numbers = ", ".join(f"{count} {name}" for name, count in tried.items())
    return [
        f"Found by {command or 'agents.tune'}",
        f"at commit {commit()}; {sum(tried.values())} trials ({numbers}).",
        f"Validation: mean QoE {first.mean:+.4f} [{first.low:+.4f}, {first.high:+.4f}] against {first.reference}, "
        f"{first.workloads} workloads. Record: {config.record_dir}/{config.search.name}.json",
    ]
