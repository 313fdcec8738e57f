"""The paper's two headlines: how many times the QoE at equal GPUs, and how many GPUs less at equal QoE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.capacity import Capacities, capacity
from agents.capacity_search import BracketError, Search
from agents.config import WorkloadSettings
from agents.evaluate import Outcome
from agents.reproduction.section import Claim, Section, held
from agents.reproduction.sweeps import burst_ratios
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.report.capacity import capacity_figure
from andes_engine.report.html import ReportFigure

TIMES, SAVED = 4.7, 0.61


def times_claim(outcomes: Sequence[Outcome]) -> Claim:
    """The largest ratio of mean QoE over all bursts of the suite, and the median one."""
    ratios = {setting: float(np.median(values)) for setting, values in burst_ratios(outcomes).items()}
    where = max(ratios, key=lambda setting: ratios[setting])
    best, middle = ratios[where], float(np.median(list(ratios.values())))
    return Claim(
        "mean QoE over vLLM's FCFS at equal GPUs",
        "v2",
        f"up to {TIMES:g}x",
        f"up to {best:.1f}x ({where}); {middle:.1f}x in the median of {len(ratios)} bursts",
        held(best >= 0.9 * TIMES, best > 1.2),
        "largest where the first token waits in a queue; nothing where FCFS has no queue",
    )


def saving_section(
    engines: Sequence[EngineConfig],
    workloads: Sequence[WorkloadSettings],
    contenders: Sequence[Contender],
    search: Search,
    workers: int,
) -> Section:
    """Capacity at a mean QoE on every engine with every workload, and the GPUs it saves; the first curves are drawn."""
    figures: list[ReportFigure] = []
    grids, text, savings = [], [], {}
    for engine in engines:
        for workload in workloads:
            name = f"{engine.name}, {workload.name}"
            try:
                found = capacity(
                    engine, workload, contenders, search, ("fcfs", "fcfs_reserve"), workers=workers, progress=True
                )
            except BracketError as error:
                text.append(f"{name}: not found. {error}")
                continue
            grids.append(found.grid(f"Capacity at mean QoE {search.target:g}: {name}"))
            savings[name] = found
            if not figures:
                drawn = capacity_figure(found.capacities, search.target)
                figures.append(
                    ReportFigure(drawn, f"Capacity, {name}", f"The crossing of QoE {search.target:g} is the capacity.")
                )
    claims = (_saving_claim(savings),) if savings else ()
    return Section("GPUs saved at equal QoE", tuple(text), tuple(grids), tuple(figures), claims)


def _saving_claim(found: dict[str, Capacities]) -> Claim:
    savings = {
        (name, entry.contender): entry.saving
        for name, capacities in found.items()
        for entry in capacities.ratios
        if entry.reference == "fcfs" and "andes" in entry.contender
    }
    said = []
    for contender in dict.fromkeys(contender for _, contender in savings):
        mine = {name: saving for (name, who), saving in savings.items() if who == contender}
        where = max(mine, key=lambda name: mine[name][0])
        saving, low, high = mine[where]
        said.append(f"{contender} up to {saving:.0%} [{low:.0%} to {high:.0%}] ({where})")
    best = max(saving for saving, _, _ in savings.values())
    return Claim(
        "fewer GPUs at equal QoE",
        "v2",
        f"up to {SAVED:.0%}",
        "; ".join(said),
        held(best >= 0.9 * SAVED, best > 0.05),
        "if capacity grows as the number of GPUs does; the paper's models and their preemption costs are not these",
    )
