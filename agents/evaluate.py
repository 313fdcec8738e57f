"""Contenders through identical workloads in the simulator, over all cores, and the paired differences between them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tqdm import tqdm

from agents.build import Scenario
from agents.statistics import Pair, paired_difference
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.report.differences import Difference
from andes_engine.sim.run import run_simulated


class Job(NamedTuple):
    """One run to make."""

    engine: EngineConfig
    scenario: Scenario
    contender: Contender


class Outcome(NamedTuple):
    """One run made: the label of its load, and the record."""

    stratum: str
    record: RunRecord


def evaluate(
    engine: EngineConfig,
    scenarios: Sequence[Scenario],
    contenders: Sequence[Contender],
    workers: int = 1,
    progress: bool = False,
) -> list[Outcome]:
    """Run every contender through every workload until drained; the order of the result is fixed.

    Args:
        engine: The simulated engine.
        scenarios: Workloads with their load label.
        contenders: Who takes part.
        workers: Processes; 1 stays in this one, 0 means one per core.
        progress: Whether to show a progress bar (only on a terminal).
    """
    jobs = [Job(engine, scenario, contender) for scenario in scenarios for contender in contenders]
    bar = tqdm(_results(jobs, workers), total=len(jobs), desc="simulating", disable=None if progress else True)
    return list(bar)


def run_entries(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Runs as a results file has them."""
    return [
        {
            "contender": run.scheduler,
            "engine": run.engine,
            "stratum": stratum,
            "workload": run.workload.name,
            "fingerprint": run.workload.fingerprint,
            "requests": len(run.workload),
            "metrics": summarize(run),
            "notes": run.notes,
        }
        for stratum, run in outcomes
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
    return [
        paired_difference(pairs(outcomes, name, reference), key, seed)
        for place, reference in enumerate(references)
        for name in names
        if name not in references[: place + 1]
        for key in metrics
    ]


def pairs(outcomes: Sequence[Outcome], candidate: str, reference: str) -> list[Pair]:
    """Runs of two contenders, matched by workload."""
    theirs = {
        (outcome.stratum, outcome.record.workload.fingerprint): outcome.record
        for outcome in outcomes
        if outcome.record.scheduler == reference
    }
    return [
        Pair(outcome.record, theirs[outcome.stratum, outcome.record.workload.fingerprint], outcome.stratum)
        for outcome in outcomes
        if outcome.record.scheduler == candidate
    ]


def _results(jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    count = min(workers or available_cores(), len(jobs))
    if count <= 1:
        yield from map(_run, jobs)
        return
    # Spawned, not forked: a fork would copy the locks of whatever threads torch, numba or a tracker have running.
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_run, jobs)


def _run(job: Job) -> Outcome:
    return Outcome(job.scenario.stratum, run_simulated(job.engine, job.scenario.workload, job.contender))


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
