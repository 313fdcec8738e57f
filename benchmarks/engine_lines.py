"""How fast the engine itself is: FCFS, Andes planning at every iteration, skipping against stepping, memory over a long run."""

from __future__ import annotations

import resource
from collections.abc import Callable

import numpy as np

from andes_engine import counters as ct
from andes_engine.sim.reference import ReferenceEngine
from andes_engine.sim.simulator import Simulator
from benchmarks.lines import Goal, Line, Sample, Stopwatch
from benchmarks.scenes import Recorded, Scene, record

ENGINE, RATIOS, MEMORY = "Engine, one core", "Ratios", "Memory"

FCFS_100 = Scene("FCFS, 100 live", 100, 28_250, timed_iterations=30_000)
FCFS_500 = Scene("FCFS, 500 live", 500, 28_250, timed_iterations=6_000)
ANDES_500 = Scene("Andes, 500 live", 500, 9_000, "andes", {"planning_period_s": 0.0}, timed_iterations=4_000)
"""FCFS: the KV cache of an H100, which holds them all. Andes: memory for about half of them, so that all compete all the time."""


def engine_lines(scale: float = 1.0) -> list[Line]:
    """Iterations per second of the engine on three steady populations."""
    goals = ((FCFS_100, 1e6), (FCFS_500, 300e3), (ANDES_500, 100e3))
    return [
        Line(ENGINE, scene_title(scene), "iterations/s", _speed_of(scene.shorter(scale)), Goal(goal, at_least=True))
        for scene, goal in goals
    ]


def scene_title(scene: Scene) -> str:
    """A scene in words."""
    plans = ", planned at every iteration, memory for about half" if scene.scheduler == "andes" else ""
    return f"{scene.name}{plans}"


def _speed_of(scene: Scene) -> Callable[[], Sample]:
    recorded = record(scene)
    return lambda: window_speed(recorded)


def window_speed(recorded: Recorded, every_step: bool = False) -> Sample:
    """Run the window of a recorded scene once, timed; everything per second of wall time."""
    simulator = recorded.simulator(every_step)
    mine = simulator.of(0)
    before = mine.counters.copy()
    with Stopwatch() as watch:
        simulator.advance(recorded.until_s)
    counted = mine.counters - before
    steps, tokens = int(counted[ct.STEPS]), int(counted[ct.DECODE_TOKENS])
    facts = {
        "mean live": recorded.mean_live(simulator),
        "mean tokens per iteration": tokens / steps,
        "M tokens/s": tokens / watch.wall_s / 1e6,
        "plans per iteration": counted[ct.DECISIONS] / steps,
        "preemptions per 100 iterations": 100.0 * counted[ct.PREEMPTIONS] / steps,
        "iterations timed": float(steps),
        "iterations per processor second": steps / watch.cpu_s,
        "core share": watch.core_share,
    }
    return Sample(steps / watch.wall_s, facts)


def ratio_lines(scale: float = 1.0) -> list[Line]:
    """Skipping uneventful iterations against stepping through each, and against a rival engine where there is one."""
    lines = []
    for scene in (FCFS_100, ANDES_500):
        recorded = record(scene.shorter(0.25 * scale))
        title = f"{scene.name}: skipping uneventful iterations / stepping through each"
        lines.append(Line(RATIOS, title, "times as fast", lambda recorded=recorded: _skip_ratio(recorded)))  # type: ignore[misc]
    return [*lines, reference_line(scale)]


def _skip_ratio(recorded: Recorded) -> Sample:
    skipping, stepping = window_speed(recorded), window_speed(recorded, every_step=True)
    facts = {"iterations/s stepping": stepping.value, "iterations/s skipping": skipping.value}
    return Sample(skipping.value / stepping.value, facts)


def reference_line(scale: float = 1.0) -> Line:
    """How many times as fast the compiled engine drains the same requests as the readable one."""
    recorded = record(FCFS_100.shorter(0.02 * scale))
    workload, engine = recorded.workload, recorded.scene.engine

    def measure() -> Sample:
        simulator = Simulator([engine], len(workload))
        simulator.reset(0, workload, "fcfs", recorded.knobs)
        with Stopwatch() as ours:
            simulator.advance(np.inf)
        with Stopwatch() as theirs:
            ReferenceEngine(engine, workload, "fcfs", recorded.knobs).advance(np.inf)
        return Sample(theirs.wall_s / ours.wall_s, {"reference, s": theirs.wall_s, "compiled, s": ours.wall_s})

    return Line(RATIOS, "compiled engine / readable reference engine", "times as fast", measure)


def memory_lines(scale: float = 1.0) -> list[Line]:
    """Growth of the process while the same window is run over and over."""
    recorded = record(FCFS_100.shorter(0.2 * scale))
    return [Line(MEMORY, "growth of peak memory over 20 runs of a window", "MiB", lambda: _growth(recorded))]


def _growth(recorded: Recorded) -> Sample:
    simulator = recorded.simulator()
    before_mib, steps = peak_mib(), 0
    for _ in range(20):
        simulator.reset(0, recorded.workload, recorded.scene.scheduler, recorded.knobs)
        simulator.advance(recorded.until_s)
        steps += int(simulator.of(0).counters[ct.STEPS])
    return Sample(peak_mib() - before_mib, {"peak memory, MiB": peak_mib(), "iterations": float(steps)})


def peak_mib() -> float:
    """Largest resident size of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
