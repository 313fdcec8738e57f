"""Runs in the simulator, side by side over the cores; each is handed over as soon as it is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import NamedTuple

from agents.interrupts import raise_if_interrupted
from andes_engine.contender import Contender
from andes_engine.cores import available_cores
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated
from andes_engine.workload import Workload


class RunFailedError(AndesError):
    """A run that failed, or a process that died with it."""


class Job(NamedTuple):
    """One run to make, and what messages call it."""

    label: str
    engine: EngineConfig
    workload: Workload
    contender: Contender


class Done(NamedTuple):
    """One run made: its place among those asked for, its record, and how long it took, s."""

    place: int
    record: RunRecord
    wall_s: float


def completed(jobs: Sequence[Job], workers: int = 1, tokens: bool = False) -> Iterator[Done]:
    """Make runs, the longest first, and hand each over when it is done.

    Args:
        jobs: What to run.
        workers: Processes; 1 stays in this one, 0 means one per core.
        tokens: Whether records keep the time of every token.

    Raises:
        RunFailedError: If a run fails or its process dies; it names the run, and its cause is the error.
    """
    order = sorted(range(len(jobs)), key=lambda place: -_work(jobs[place].workload))
    count = min(workers or available_cores(), len(jobs))
    return _side_by_side(jobs, order, count, tokens) if count > 1 else _one_by_one(jobs, order, tokens)


def _work(workload: Workload) -> int:
    """Grows with the time a run takes."""
    return int(workload.prompt_tokens.sum() + workload.output_tokens.sum())


def _one_by_one(jobs: Sequence[Job], order: Sequence[int], tokens: bool) -> Iterator[Done]:
    for place in order:
        try:
            done = Done(place, *_simulated(jobs[place], tokens))
        except Exception as error:
            raise _failed(jobs[place], error) from error
        yield done
        raise_if_interrupted()


def _side_by_side(jobs: Sequence[Job], order: Sequence[int], count: int, tokens: bool) -> Iterator[Done]:
    """As many runs as workers are under way, so that a process that dies was at one of these; after a failure no more start."""
    left = iter(order)
    with processes(count) as pool:
        under_way: dict[Future[tuple[RunRecord, float]], int] = {}

        def start_more() -> RunFailedError | None:
            while len(under_way) < count and (place := next(left, None)) is not None:
                try:
                    under_way[pool.submit(_simulated, jobs[place], tokens)] = place
                except BrokenProcessPool:
                    return _died(jobs, [*under_way.values(), place])
            return None

        failure = start_more()
        while under_way:
            ready, _ = wait(under_way, return_when=FIRST_COMPLETED)
            busy = sorted(under_way.values())
            finished = [(under_way.pop(future), future) for future in ready]
            if failure is None and not any(future.exception() for future in ready):
                failure = start_more()
            for place, future in finished:
                error = future.exception()
                if error is None:
                    yield Done(place, *future.result())
                elif failure is None:
                    failure = _died(jobs, busy) if isinstance(error, BrokenProcessPool) else _failed(jobs[place], error)
            raise_if_interrupted()
    if failure is not None:
        raise failure


def _failed(job: Job, error: BaseException) -> RunFailedError:
    kind = "" if isinstance(error, AndesError) else f"{type(error).__name__}: "
    failure = RunFailedError(f"{job.label} failed: {kind}{error}")
    failure.__cause__ = error
    return failure


def _died(jobs: Sequence[Job], places: Iterable[int]) -> RunFailedError:
    names = "; ".join(jobs[place].label for place in places)
    return RunFailedError(f"a worker process died (killed, or out of memory) while it ran one of: {names}")


def _simulated(job: Job, tokens: bool) -> tuple[RunRecord, float]:
    started_s = time.perf_counter()
    record = run_simulated(job.engine, job.workload, job.contender, token_log=tokens)
    return record, time.perf_counter() - started_s


class _Worker(SpawnProcess):
    """Starts with interrupts held back: one that comes while it still imports would end it with a traceback."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Workers(SpawnContext):
    """Spawned, not forked: a fork would copy the locks of whatever threads torch, numba or a tracker have running."""

    Process = _Worker


def processes(count: int) -> ProcessPoolExecutor:
    """So many processes of ours; they leave interrupts to their parent, and end when it is killed."""
    return ProcessPoolExecutor(count, mp_context=_Workers(), initializer=_belong_to_parent)


def _belong_to_parent() -> None:
    """Interrupts are the parent's to handle, and a worker ends when its parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
