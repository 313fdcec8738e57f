"""A suite's runs, kept one by one as they finish, so that a stopped comparison goes on where it was."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from agents.evaluate import Outcome
from agents.pool import RunFailedError, completed
from agents.row_store import RowStore
from agents.run_dir import write_text
from agents.suite import Run, Suite
from andes_engine.contender import Contender
from andes_engine.errors import AndesError
from andes_engine.records import RunRecord

FAILURE = "failure.txt"


def run_suite(
    suite: Suite,
    contenders: Sequence[Contender],
    run_dir: Path | str,
    workers: int = 0,
    progress: bool = False,
    tokens: bool = False,
) -> list[Outcome]:
    """Run every contender through every workload of a suite until drained; the result does not depend on workers or restarts.

    Args:
        suite: What to run.
        contenders: Who takes part in the settings that do not name their own.
        run_dir: Where rows and records are kept. Those that are there are not run again.
        workers: Processes; 1 stays in this one, 0 means one per core.
        progress: Whether to show a progress bar (only on a terminal).
        tokens: Whether records keep the time of every token.

    Raises:
        AndesError: If a workload cannot be made, or `run_dir` holds other runs; nothing has run then.
        RunFailedError: If a run fails or its process dies; all that finished is kept.
    """
    runs = suite.runs(contenders)
    with RowStore(run_dir, suite, contenders, tokens) as store:
        return make_runs(store, runs, workers, progress)


def make_runs(store: RowStore, runs: Sequence[Run], workers: int = 0, progress: bool = False) -> list[Outcome]:
    """The outcomes of runs in their order: found in the store, or made and kept there; arguments as in `run_suite`."""
    store.keep_bundles(runs)
    records = store.found(runs)
    if records:
        print(f"{len(records)} of {len(runs)} runs are in {store.path} already")
    missing = [place for place in range(len(runs)) if place not in records]
    hidden = None if progress else True
    with tqdm(total=len(runs), initial=len(records), desc="simulating", disable=hidden) as bar:
        try:
            for done in completed([runs[place].job for place in missing], workers, store.tokens):
                place = missing[done.place]
                store.add(runs[place], done.record, done.wall_s)
                records[place] = done.record
                bar.update()
        except RunFailedError as error:
            raise _kept(error, store, len(records), len(runs)) from error.__cause__
    return [_outcome(store, run, records[place]) for place, run in enumerate(runs)]


def _outcome(store: RowStore, run: Run, record: RunRecord) -> Outcome:
    """The record with the one copy of its workload that all contenders share."""
    scenario = run.scenario
    shared = replace(record, workload=scenario.workload)
    return Outcome(run.stratum, shared, run.setting.name, scenario.load, scenario.seed, store.row_id(run))


def _kept(error: RunFailedError, store: RowStore, finished: int, asked: int) -> RunFailedError:
    """The error with what is kept; where it came from is written down if it is not the user's input."""
    cause, more = error.__cause__, ""
    if cause is not None and not isinstance(cause, AndesError):
        more = f", where it failed in {write_text(store.path / FAILURE, ''.join(traceback.format_exception(cause)))}"
    return RunFailedError(
        f"{error}. {finished} of {asked} runs are kept{more}; start again with run_dir={store.path} to go on"
    )
