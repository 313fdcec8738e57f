"""Contenders through identical workloads in the simulator, and the paired differences between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents.build import Scenario
from agents.pool import Job, completed
from agents.statistics import Pair, paired_difference
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.differences import Difference


class Outcome(NamedTuple):
    """One run made.

    Args:
        stratum: What statistics and tables group by: the setting and the load.
        record: What came out.
        setting: Name of the setting; empty where there is only one.
        load: Share of FCFS saturation; None for a trace at its own rate.
        seed: Which workload of its split.
        row: Id of its row, where rows are kept.
    """

    stratum: str
    record: RunRecord
    setting: str = ""
    load: float | None = None
    seed: int = 0
    row: str = ""


def evaluate(
    engine: EngineConfig, scenarios: Sequence[Scenario], contenders: Sequence[Contender], workers: int = 1
) -> list[Outcome]:
    """Run every contender through every workload until drained and keep nothing; the order of the result is fixed.

    Args:
        engine: The simulated engine.
        scenarios: Workloads with their load label.
        contenders: Who takes part.
        workers: Processes; 1 stays in this one, 0 means one per core.

    Raises:
        RunFailedError: If a run fails.
    """
    runs = [(scenario, contender) for scenario in scenarios for contender in contenders]
    jobs = [
        Job(f"'{contender.name}' in '{scenario.stratum}'", engine, scenario.workload, contender)
        for scenario, contender in runs
    ]
    records = {done.place: done.record for done in completed(jobs, workers)}
    return [
        Outcome(scenario.stratum, records[place], load=scenario.load, seed=scenario.seed)
        for place, (scenario, _) in enumerate(runs)
    ]


def run_entries(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Runs as a results file has them."""
    return [
        {
            "row": outcome.row,
            "contender": run.scheduler,
            "engine": run.engine,
            "setting": outcome.setting,
            "stratum": outcome.stratum,
            "load": outcome.load,
            "seed": outcome.seed,
            "workload": run.workload.name,
            "fingerprint": run.workload.fingerprint,
            "requests": len(run.workload),
            "metrics": summarize(run),
            "notes": run.notes,
        }
        for outcome in outcomes
        for run in [outcome.record]
    ]


def differences(
    outcomes: Sequence[Outcome], references: Sequence[str], metrics: Sequence[str], seed: int = 0
) -> list[Difference]:
    """Every contender against every reference on the same requests; no pair comes twice, mirrored.

    Raises:
        UnknownNameError: If a reference did not take part.
    """
    names = list(dict.fromkeys(outcome.record.scheduler for outcome in outcomes))
    for reference in references:
        if reference not in names:
            raise UnknownNameError("reference contender", reference, names)
    matched = {
        (name, reference): pairs(outcomes, name, reference)
        for place, reference in enumerate(references)
        for name in names
        if name not in references[: place + 1]
    }
    return [paired_difference(both, key, seed) for both in matched.values() if both for key in metrics]


def pairs(outcomes: Sequence[Outcome], candidate: str, reference: str) -> list[Pair]:
    """Runs of two contenders, matched by workload, wherever both took part."""
    theirs = {
        (outcome.stratum, outcome.record.workload.fingerprint): outcome.record
        for outcome in outcomes
        if outcome.record.scheduler == reference
    }
    mine = [outcome for outcome in outcomes if outcome.record.scheduler == candidate]
    keys = [(outcome.stratum, outcome.record.workload.fingerprint) for outcome in mine]
    return [
        Pair(outcome.record, theirs[key], outcome.stratum)
        for outcome, key in zip(mine, keys, strict=True)
        if key in theirs
    ]
