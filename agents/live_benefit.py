"""The margin of a scheduler on live vLLM, over several bursts in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.config import SchedulerSettings
from agents.demo import live_grid, live_sentences
from agents.export import policy_folder
from agents.live import LiveSettings, live_runs
from agents.run_dir import RunDir, plain
from agents.statistics import Pair, paired_difference
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.policy.bundle import load_bundle
from andes_engine.report.differences import difference_grid
from andes_engine.report.grid import Grid, to_markdown


@dataclass(frozen=True, slots=True)
class LiveBenefitConfig:
    """`conf/live_benefit.yaml`; the first contender is the one the others are judged against."""

    seed: int
    run_dir: str
    contenders: Mapping[str, SchedulerSettings]
    live: LiveSettings
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class LiveBenefitResult:
    """Tables, sentences, and the file the tables were written to."""

    grids: tuple[Grid, ...]
    sentences: list[str]
    table: Path


def live_benefit(config: LiveBenefitConfig) -> LiveBenefitResult:
    """Replay every burst under every contender and judge the differences, burst by burst.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    contenders = [settings.contender for settings in config.contenders.values()]
    if config.policy:
        bundle = load_bundle(policy_folder(config.policy))
        contenders.append(Contender(bundle.name, bundle=bundle))
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    result = live_runs(config.live, contenders)
    reference = contenders[0].name
    by_burst = {(run.scheduler, run.workload.fingerprint): run for run in result.live}
    found = [
        paired_difference(
            [
                Pair(run, by_burst[reference, run.workload.fingerprint])
                for run in result.live
                if run.scheduler == contender.name
            ],
            key,
            config.seed,
        )
        for contender in contenders[1:]
        for key in ("qoe_mean", "qoe_p10", "tokens_per_s")
    ]
    grids = (live_grid(result, "rows"), difference_grid(found, "Live vLLM, paired over bursts"))
    table = run_dir.path / "table.md"
    table.write_text("\n".join(map(to_markdown, grids)), encoding="utf-8")
    runs = [{"engine": run.engine, "scheduler": run.scheduler, **summarize(run), **run.notes} for run in result.live]
    run_dir.write_results({"calibration": result.calibration, "runs": runs, "differences": found})
    return LiveBenefitResult(grids, live_sentences(result), table)
