"""The decision alone, on recorded states: compiled, from Python, against the authors' form; greedy against exact packing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from andes_engine.batch_choice import batch_limit
from andes_engine.decision import decide
from andes_engine.report.greedy_gap import GreedyGaps, KnapsackInstance, greedy_gaps
from andes_engine.schedulers import ANDES, AUTHORS_CODE
from andes_engine.sim.state import L_SCHEDULER
from benchmarks.authors_decision import Solver, sequence_groups
from benchmarks.lines import Goal, Line, Sample, Stopwatch
from benchmarks.recorded_states import (
    States,
    arguments_for,
    decide_from_python,
    decide_on_all,
    empty_plan,
    mean_live,
    prepared,
    record_states,
)
from benchmarks.scenes import Scene, record

DECISION, RATIOS = "One Andes decision", "Ratios"

STATES = 16
_PASSES_PER_TIMING = 1
"""A timing is a millisecond or two: shorter than what the operating system gives a process before others get their turn."""
PLANNED_ALWAYS = {"planning_period_s": 0.0}
CONTENDED = {
    live: Scene(f"Andes, {live} live", live, 18 * live, "andes", PLANNED_ALWAYS, 600, 400) for live in (500, 1000)
}
GOALS_US = {500: 60.0, 1000: 150.0}
PACKED = {
    "memory binds": Scene("memory binds", 300, 5_400, "andes", PLANNED_ALWAYS, 600, 400),
    "batch binds": Scene("batch binds", 150, 28_250, "andes", PLANNED_ALWAYS, 600, 400, max_num_seqs=48),
}
"""Andes with too little memory for all, and with memory for all but few places. Smaller than elsewhere: the exact packer pays
for requests, blocks and, where it binds, places."""


def decision_lines(scale: float = 1.0) -> list[Line]:
    """Microseconds of one decision."""
    lines = []
    for live, scene in CONTENDED.items():
        states = record_states(record(scene), max(2, int(STATES * scale)))
        timings = max(1, int(10_000 * scale) // live)
        for cold in (False, True):
            title = f"{live:,} live, {'nothing remembered: sorted anew' if cold else 'last order remembered'}"
            goal = Goal(GOALS_US[live], at_least=False)
            lines.append(Line(DECISION, title, "µs", compiled_loop(states, cold, timings), goal))
        lines.append(Line(DECISION, f"{live:,} live, last order remembered, called from Python", "µs", _called(states)))
    return lines


def compiled_loop(states: States, cold: bool, timings: int, scheduler: int = ANDES) -> Callable[[], Sample]:
    """Measure decisions in a compiled loop, as the median of several short timings; compiles it first."""
    states.engines.limits[:, L_SCHEDULER] = scheduler
    words = decide.call_words()
    decide_on_all(states.engines, states.ranking, words, cold, 1)

    def measure() -> Sample:
        states.engines.limits[:, L_SCHEDULER] = scheduler
        taken_s, plans, count = [], 0, _PASSES_PER_TIMING * len(states.ranking)
        for _ in range(timings):
            with Stopwatch() as watch:
                plans += decide_on_all(states.engines, states.ranking, words, cold, _PASSES_PER_TIMING)
            taken_s.append(watch.wall_s / count)
        facts = {"mean live": mean_live(states), "plans per decision": plans / (timings * count)}
        return Sample(1e6 * float(np.median(taken_s)), facts)

    return measure


def _called(states: States) -> Callable[[], Sample]:
    plan = empty_plan(states)

    def measure() -> Sample:
        taken_s = []
        for index in 5 * list(range(len(states.ranking))):
            state = prepared(states, index)
            taken_s.append(decide_from_python(state, arguments_for(state, ANDES, plan)))
        return Sample(1e6 * float(np.median(taken_s)), {"mean live": mean_live(states)})

    return measure


def authors_line(scale: float = 1.0) -> Line:
    """The authors' logic as published, in plain Python, over the same logic compiled; and over compiled Andes."""
    states = record_states(record(CONTENDED[500]), max(2, int(8 * scale)))
    same, andes = compiled_loop(states, False, 10, AUTHORS_CODE), compiled_loop(states, False, 10)

    def measure() -> Sample:
        python_us, same_us, andes_us = 1e6 * _authors_s(states), same().value, andes().value
        facts = {"plain Python, µs": python_us, "compiled, µs": same_us, "compiled Andes, µs": andes_us}
        return Sample(python_us / same_us, facts)

    return Line(RATIOS, "authors' decision, 500 live: plain Python / compiled", "times as long", measure)


def _authors_s(states: States) -> float:
    """Mean seconds of one decision by plain Python; building its objects is not counted."""
    taken_s = []
    for index in range(len(states.ranking)):
        state = prepared(states, index)
        running, waiting = (sequence_groups(state.engine.table, rows) for rows in (state.running, state.waiting))
        solver = Solver(state.view)
        with Stopwatch() as watch:
            solver.decide(running, waiting)
        taken_s.append(watch.wall_s)
    return float(np.mean(taken_s))


def packing_instances(scene: Scene, count: int) -> list[KnapsackInstance]:
    """Knapsacks that Andes really packed: gains, weights and priorities as a decision leaves them in its buffers."""
    states = record_states(record(scene), count)
    plan, instances = empty_plan(states), []
    for index in range(count):
        state = prepared(states, index)
        decide_from_python(state, arguments_for(state, ANDES, plan))
        n = len(state.running) + len(state.waiting)
        limit = min(batch_limit.py_func(state.view, state.engine.knobs), n)
        buffers = plan.gain[:n].copy(), plan.weight_blocks[:n].copy()
        instances.append(KnapsackInstance(*buffers, state.view.kv_blocks, limit, plan.priority[:n].copy()))
    return instances


def packing_lines(scale: float = 1.0) -> list[Line]:
    """Time of the exact packer over the greedy one, and what greedy misses."""
    lines = []
    for name, scene in PACKED.items():
        instances = packing_instances(scene, max(2, int(24 * scale)))
        measure = lambda instances=instances: _gaps(greedy_gaps(instances))  # noqa: E731
        title = f"knapsack, {scene.live} live, {name}: exact packing / greedy"
        lines.append(Line(RATIOS, title, "times as long", measure, repeats=3))
    return lines


def _gaps(gaps: GreedyGaps) -> Sample:
    shares = 100.0 * gaps.relative
    facts = {
        "gap median, %": float(np.median(shares)),
        "gap p95, %": float(np.percentile(shares, 95)),
        "gap worst, %": float(shares.max()),
        "instances": float(len(shares)),
    }
    return Sample(gaps.time_ratio, facts)
