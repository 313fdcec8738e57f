"""Tables of how far other engines are from live vLLM on the same workloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from andes_engine.report.grid import MISSING, Cell, Column, Grid, spread_cell

LIVE, AGAIN = "live vLLM", "live vLLM, once more"
"""The second run tells how far an engine can be expected to agree with the first: as far as it agrees with itself."""
AT_SPEED = "simulator, at this run's speed"
"""Every iteration as much slower than calibrated as those of the live run were."""

FEW_PREEMPTIONS = 0.02
"""Preemptions per request below which a ratio says nothing."""
NOBODY_LATE = 0.999
"""From this mean QoE on a live run says little: any engine agrees with it."""
QOE_AIM, RATIO_AIM = 0.02, 0.1
UNNOTICED_S = 0.05
"""Seconds that a TTFT may differ by without anybody noticing; a few iterations of the live engine."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One contender on one workload.

    Args:
        scheduler: Whose decisions.
        load: Arrival rate in shares of FCFS saturation.
        drift: How much longer the live iterations took than the step-time model says, as a share.
        metrics: `metrics.summarize` of each engine's record, `LIVE` among them.
    """

    scheduler: str
    load: float
    drift: float
    metrics: Mapping[str, Mapping[str, float]]


def fidelity_grid(comparisons: Sequence[Comparison]) -> Grid:
    """One row per load, contender and engine: differences from live, median and range over the workloads."""
    columns = (
        Column("load", numeric=False),
        Column("scheduler", numeric=False),
        Column("engine", numeric=False),
        Column("QoE mean"),
        Column("difference", "QoE mean"),
        Column("p50", "TTFT over live"),
        Column("p90", "TTFT over live"),
        Column("per request, over live", "preemptions"),
    )
    rows = [
        _row(
            load,
            scheduler,
            engine,
            [entry for entry in comparisons if (entry.load, entry.scheduler) == (load, scheduler)],
        )
        for load in _each(entry.load for entry in comparisons)
        for scheduler in _each(entry.scheduler for entry in comparisons)
        for engine in comparisons[0].metrics
    ]
    note = "Median over the workloads, in brackets lowest and highest. Aims: QoE within .02, TTFT and preemptions within 10 %."
    return Grid("Other engines against live vLLM, same workloads", columns, tuple(rows), (note,))


def _row(load: float, scheduler: str, engine: str, entries: Sequence[Comparison]) -> tuple[Cell, ...]:
    mine = [entry.metrics[engine] for entry in entries]
    live = [entry.metrics[LIVE] for entry in entries]
    head = Cell(f"{load:g}"), Cell(scheduler), Cell(engine), _spread([run["qoe_mean"] for run in mine], ".3f")
    if engine == LIVE:
        return (*head, Cell(), Cell(), Cell(), Cell())
    pairs = list(zip(mine, live, strict=True))
    return (
        *head,
        _spread([run["qoe_mean"] - other["qoe_mean"] for run, other in pairs], "+.3f"),
        *(_spread([run[key] / other[key] for run, other in pairs], ".2f") for key in ("ttft_p50_s", "ttft_p90_s")),
        _preemption_ratio(pairs),
    )


def _preemption_ratio(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> Cell:
    key = "preemptions_per_request"
    ratios = [run[key] / other[key] for run, other in pairs if other[key] >= FEW_PREEMPTIONS]
    return _spread(ratios, ".2f") if len(ratios) == len(pairs) else Cell(MISSING)


def ranking_grid(comparisons: Sequence[Comparison]) -> Grid:
    """Schedulers by mean QoE on each engine, and in how many workloads the best one is the live one's best."""
    schedulers, engines = _each(entry.scheduler for entry in comparisons), list(comparisons[0].metrics)
    columns = (
        Column("load", numeric=False),
        *(Column(engine, "best to worst by mean QoE", False) for engine in engines),
    )
    rows = []
    for load in _each(entry.load for entry in comparisons):
        cells = [Cell(f"{load:g}")]
        for engine in engines:
            means = {
                name: np.mean(
                    [e.metrics[engine]["qoe_mean"] for e in comparisons if (e.load, e.scheduler) == (load, name)]
                )
                for name in schedulers
            }
            order = sorted(schedulers, key=lambda name: -means[name])
            cells.append(Cell(" > ".join(f"{name} {means[name]:.3f}" for name in order)))
        rows.append(tuple(cells))
    return Grid("Ranking of the schedulers", columns, tuple(rows))


def agreement_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """How often each engine is as near to live vLLM as is aimed at, and how fast the machine was meanwhile."""
    drifts = [entry.drift for entry in comparisons]
    said = [
        f"Iterations of the live runs took {np.median(drifts):+.0%} [{min(drifts):+.0%} to {max(drifts):+.0%}] against the "
        "calibrated model."
    ]
    late = [entry.metrics[LIVE]["qoe_mean"] < NOBODY_LATE for entry in comparisons]
    for name in (name for name in comparisons[0].metrics if name != LIVE):
        apart = [abs(entry.metrics[name]["qoe_mean"] - entry.metrics[LIVE]["qoe_mean"]) for entry in comparisons]
        close = [value <= QOE_AIM for value in apart]
        hard = sum(near and is_late for near, is_late in zip(close, late, strict=True))
        ratios = {
            "TTFT p50": _ratios(comparisons, name, "ttft_p50_s", 0.0),
            "p90": _ratios(comparisons, name, "ttft_p90_s", 0.0),
            "preemptions": _ratios(comparisons, name, "preemptions_per_request", FEW_PREEMPTIONS),
        }
        within = ", ".join(f"{what} {_within(found)}" for what, found in ratios.items())
        near_enough = [
            sum(_unnoticed(entry, name, key) for entry in comparisons) for key in ("ttft_p50_s", "ttft_p90_s")
        ]
        said.append(
            f"{name}: mean QoE within {QOE_AIM:g} of live in {sum(close)} of {len(apart)} runs ({hard} of {sum(late)} where "
            f"readers waited), median {np.median(apart):.3f}, largest {max(apart):.3f}; within {RATIO_AIM:.0%}: {within}; "
            f"within {RATIO_AIM:.0%} or {1e3 * UNNOTICED_S:g} ms: TTFT p50 {near_enough[0]}, p90 {near_enough[1]}."
        )
    return said


def _ratios(comparisons: Sequence[Comparison], engine: str, key: str, least: float) -> list[float]:
    pairs = [(entry.metrics[engine][key], entry.metrics[LIVE][key]) for entry in comparisons]
    return [mine / live for mine, live in pairs if live > least]


def _unnoticed(entry: Comparison, engine: str, key: str) -> bool:
    mine, live = entry.metrics[engine][key], entry.metrics[LIVE][key]
    return abs(mine - live) <= max(RATIO_AIM * live, UNNOTICED_S)


def _within(ratios: Sequence[float]) -> str:
    return f"{sum(abs(ratio - 1.0) <= RATIO_AIM for ratio in ratios)} of {len(ratios)}"


def _spread(values: Sequence[float], form: str) -> Cell:
    if not values:
        return Cell(MISSING)
    same = format(min(values), form) == format(max(values), form)
    return Cell(format(np.median(values), form)) if same else spread_cell(values, form)


def _each(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
