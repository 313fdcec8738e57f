"""The margin of a scheduler on live vLLM, over several bursts in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.build import contenders_from
from agents.config import SchedulerSettings
from agents.demo import live_grid, live_sentences
from agents.live import LiveSettings, live_runs
from agents.run_dir import RunDir, plain
from agents.statistics import Pair, paired_difference
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.grid import Grid, to_markdown


@dataclass(frozen=True, slots=True)
class LiveBenefitConfig:
    """`conf/live_benefit.yaml`; the first contender is the one the others are judged against.

    Args:
        seed: Of bursts and intervals.
        run_dir: Where results go.
        contenders: Fixed schedulers.
        live: The bursts, and the engine.
        policy: Folder of a policy bundle that takes part as well, or a list of them.
    """

    seed: int
    run_dir: str
    contenders: Mapping[str, SchedulerSettings]
    live: LiveSettings
    policy: str | tuple[str, ...] | None = None


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
    contenders = contenders_from(config.contenders, config.policy)
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    result = live_runs(config.live, contenders)
    found = burst_differences(result.live, contenders[0].name, config.seed)
    grids = (live_grid(result, "rows"), difference_grid(found, "Live vLLM, paired over bursts"))
    table = run_dir.path / "table.md"
    table.write_text(to_markdown(*grids), encoding="utf-8")
    run_dir.write_results({"calibration": result.calibration, "runs": burst_entries(result.live), "differences": found})
    return LiveBenefitResult(grids, live_sentences(result), table)


def burst_differences(live: Sequence[RunRecord], reference: str, seed: int) -> list[Difference]:
    """Every other scheduler against the reference on the same bursts, with intervals."""
    by_burst = {(run.scheduler, run.workload.fingerprint): run for run in live}
    names = [name for name in dict.fromkeys(run.scheduler for run in live) if name != reference]
    return [
        paired_difference(
            [Pair(run, by_burst[reference, run.workload.fingerprint]) for run in live if run.scheduler == name],
            key,
            seed,
        )
        for name in names
        for key in ("qoe_mean", "qoe_p10", "tokens_per_s")
    ]


def burst_entries(live: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Each run's metrics for a file of results."""
    return [
        {
            "engine": run.engine,
            "scheduler": run.scheduler,
            "burst": run.workload.fingerprint,
            **summarize(run),
            **run.notes,
        }
        for run in live
    ]
