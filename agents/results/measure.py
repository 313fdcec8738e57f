"""Rows of every arm in every suite: run where they are missing or have changed, recorded ones where they stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agents.evaluate import Outcome
from agents.results.arms import Arm, Member
from agents.results.config import SIZES, ResultsConfig
from agents.results.kept import ROWS, KeptRow, read_kept
from agents.results.measured import SCALES, Found, Measured, Places, metrics_of, runs_of, segments_of
from agents.row_store import describe
from agents.rows import ContenderRow, content_hash
from agents.run_dir import made_with, plain
from agents.run_suite import run_suite
from agents.suite import Suite
from agents.suite_file import suite_of
from andes_engine.errors import AndesError


def measure(config: ResultsConfig, arms: Sequence[Arm]) -> tuple[Measured, list[KeptRow]]:
    """What came out, and the rows to record: those of this time, and recorded ones of who could not be run.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        RunFailedError: If a run fails; the finished ones are kept.
    """
    suites = {name: _suite(config, name) for name in config.suites}
    places = {name: Places.of(runs_of(suite)) for name, suite in suites.items()}
    hashes = {name: _hash(suite, places[name]) for name, suite in suites.items()}
    kept = {row.key: row for row in read_kept(Path(config.recorded) / ROWS)} if config.recorded else {}
    rows = {key: row for key, row in kept.items() if row.suite_hash == hashes.get(row.suite)}
    _tell_stale(kept, rows)
    for name, suite in suites.items():
        for group in _groups(arms):
            wanted = [
                (arm.name, member)
                for arm in group
                for member in arm.members
                if _asked(config, rows.get((name, arm.name, member.seed)), member)
            ]
            fresh = _run(config, suite, hashes[name], wanted)
            rows |= {row.key: row for row in fresh}
    asked = {(arm.name, member.seed) for arm in arms for member in arm.members}
    empty = {arm.name for arm in arms if not arm.members}
    used = [row for row in rows.values() if (row.arm, row.seed) in asked or row.arm in empty]
    return Measured(places, _by_arm(used)), used


def _suite(config: ResultsConfig, name: str) -> Suite:
    whole = suite_of(replace(config.compare, suite=config.suites[name]))
    return Suite(name, tuple(SIZES[config.size].of(whole.settings)))


def _hash(suite: Suite, places: Places) -> str:
    described = describe(suite, (), False)
    return content_hash([described, [place.fingerprint for place in places.places]])


def contender_hash(member: Member) -> str:
    """Of everything that makes a contender, but not of its name."""
    return content_hash({**plain(ContenderRow.of(member.contender)), "name": ""})


def _tell_stale(kept: Mapping[tuple[str, str, int], KeptRow], current: Mapping[tuple[str, str, int], KeptRow]) -> None:
    stale = sorted({f"{suite}: {arm}" for suite, arm, _ in kept.keys() - current.keys()})
    if stale:
        print(f"note: recorded rows of other workloads than these settings make are not used: {', '.join(stale)}")


def _asked(config: ResultsConfig, row: KeptRow | None, member: Member) -> bool:
    changed = row is None or row.contender_hash != contender_hash(member)
    if config.rerun == "none" and changed:
        raise AndesError(
            f"there are no recorded rows of '{member.contender.name}' as it is now; take rerun=missing to run it"
        )
    return config.rerun == "all" or (config.rerun == "missing" and changed)


def _groups(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Whose records are in memory together: all single ones, and each recipe for itself."""
    single = [arm for arm in arms if len(arm.members) == 1]
    return [group for group in (single, *([arm] for arm in arms if len(arm.members) > 1)) if group]


def _run(config: ResultsConfig, suite: Suite, suite_hash: str, wanted: Sequence[tuple[str, Member]]) -> list[KeptRow]:
    if not wanted:
        return []
    contenders = [member.contender for _, member in wanted]
    name = content_hash(describe(suite, contenders, False), 8)
    outcomes = run_suite(
        suite, contenders, Path(config.run_dir) / f"{suite.name}_{name}", config.processes, progress=True
    )
    by_label: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_label[outcome.record.scheduler].append(outcome)
    commit = str(made_with()["commit"])
    spans = config.segments if suite.name == config.parts_suite else 0
    return [
        _row(suite.name, suite_hash, arm, member, commit, by_label[member.contender.label], spans)
        for arm, member in wanted
    ]


def _row(
    suite: str, suite_hash: str, arm: str, member: Member, commit: str, outcomes: Sequence[Outcome], spans: int
) -> KeptRow:
    metrics = [metrics_of(outcome.record) for outcome in outcomes]
    values = {key: np.array([one[key] for one in metrics]) for key in SCALES}
    segments = (
        np.array([segments_of(outcome.record, spans) for outcome in outcomes])
        if spans and member.fixed
        else np.zeros((0, 0))
    )
    return KeptRow(suite, suite_hash, arm, member.seed, contender_hash(member), commit, values, segments)


def _by_arm(rows: Sequence[KeptRow]) -> dict[tuple[str, str], Found]:
    grouped: dict[tuple[str, str], list[KeptRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.key):
        grouped[row.suite, row.arm].append(row)
    found = {}
    for key, members in grouped.items():
        values = {metric: np.stack([row.values[metric] for row in members]) for metric in SCALES}
        whole = all(row.segments.size for row in members)
        found[key] = Found(values, np.stack([row.segments for row in members]) if whole else None)
    return found
