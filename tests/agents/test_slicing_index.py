"""What `slicing_index` is for: rushes on an engine that is far ahead of its readers."""

from __future__ import annotations

import pytest

from agents.build import scenarios, seed_range
from agents.cli import compose
from agents.config import CompareConfig, WorkloadSettings
from agents.schema import from_mapping
from agents.suite_file import suite_of
from andes_engine.sim.run import run_simulated

NAMES = ("gathering_index", "slicing_index")


@pytest.mark.parametrize("duration_s", [6.0, 20.0])
def test_requests_that_take_turns_more_readily_are_served_better_in_a_rush(duration_s: float) -> None:
    chosen = [f"scheduler@contenders.{name}={name}" for name in NAMES]
    config = from_mapping(CompareConfig, compose("compare", "engine=cpu_tiny", *(f"+{one}" for one in chosen)))
    engine = suite_of(config).settings[0].engine
    rush = WorkloadSettings("rush", lengths="tiny", duration_s=duration_s, on_too_long="drop")
    drawn = [one.workload for one in scenarios(engine, rush, (2.0,), seed_range(4), "validation", engine)]
    gathering, slicing = (
        sum(run_simulated(engine, workload, config.contenders[name].contender).qoe.mean() for workload in drawn)
        for name in NAMES
    )
    assert slicing > gathering + 0.01 * len(drawn)
