"""A run as a report of many places it: its setting, its load, and its record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from andes_engine.records import RunRecord


class ShownRun(NamedTuple):
    """One run of a comparison.

    Attributes:
        setting: Panel it belongs to, such as engine and workload; one name for all where there is one setting.
        load: Where it stands on the load axis.
        record: What came out.
    """

    setting: str
    load: float
    record: RunRecord


def by_setting(runs: Iterable[ShownRun]) -> dict[str, dict[float, list[RunRecord]]]:
    """Records by setting and load, settings in order of appearance."""
    found: dict[str, dict[float, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        found[run.setting][run.load].append(run.record)
    return {setting: dict(by_load) for setting, by_load in found.items()}
