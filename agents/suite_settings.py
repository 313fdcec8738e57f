"""The schema of `conf/suite/*.yaml`: a suite as named grids, short enough to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RECORDED = "recorded"
"""As a load: a trace at its own rate. Left out for a file of lengths, which has no times."""


@dataclass(frozen=True, slots=True)
class GridSettings:
    """Every engine with every workload, at every load, with every seed.

    Args:
        engines: Names of `conf/engine`, or a mapping of new names to what differs, such as `{engine: NAME, kv_blocks: 27875}`.
            Left out: the engine of the comparison.
        workloads: Names of `conf/workload`, or a mapping of new names to what differs: `{workload: NAME, lengths: arxiv}`.
            Left out: that of the comparison.
        vary: Further axes: for a setting of the workload its values, as a list or by label.
        loads: Shares of what FCFS saturates at; `recorded` for a trace at its own rate. Left out: those of the comparison.
        seeds: Workloads at each load. Left out: those of the comparison.
        split: `held_out` or `validation`. Left out: that of the comparison.
    """

    engines: Any = None
    workloads: Any = None
    vary: Mapping[str, Any] = field(default_factory=dict)
    loads: tuple[Any, ...] | None = None
    seeds: int | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class SuiteSettings:
    """`conf/suite/NAME.yaml`.

    Args:
        name: What reports call it.
        grids: Grids by name; all of them are run.
        needs_trace: Whether it replays a recorded trace, `trace=PATH`.
    """

    name: str
    grids: Mapping[str, GridSettings]
    needs_trace: bool = False
