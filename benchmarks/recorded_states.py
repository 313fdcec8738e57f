"""States of a running engine right before a decision, side by side, and the decision timed on them."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled_allocating
from andes_engine.decision import decide
from andes_engine.decision_buffers import GATED, Decision, empty_decision
from andes_engine.engine import EngineView
from andes_engine.native import Arguments
from andes_engine.plan_memory import ITERATION, NEXT_PLAN_S
from andes_engine.sim import state as st
from andes_engine.sim.lifecycle import ready
from andes_engine.sim.state import Engines, allocate, one, part_of
from andes_engine.sim.step import decide_for
from benchmarks.scenes import Recorded

IntArray = NDArray[np.int64]

_ITERATIONS_APART = 20

_RUNNING, _WAITING, _VIEW = 1, 2, 3
"""Places of the arguments of `decide` that change from call to call."""


class States(NamedTuple):
    """Recorded engines, one per decision, and the order that each one's last plan left. Shape (states, 1 + rows)."""

    engines: Engines
    ranking: IntArray


def record_states(recorded: Recorded, count: int) -> States:
    """Step through a scene's window and copy the engine before every twentieth decision."""
    simulator = recorded.simulator()
    states = allocate([recorded.scene.engine] * count, len(recorded.workload))
    mine = simulator.of(0)
    for index in range(count):
        until = int(mine.counters[ct.STEPS]) + _ITERATIONS_APART
        while mine.counters[ct.STEPS] < until:
            simulator.advance(float(np.nextafter(mine.now_s[0], np.inf)))
        ready(mine, np.inf)  # what has arrived by now takes part
        _copy(mine, part_of(states, index))
    return States(states, states.memory.ranking.copy())


def _copy(source: Engines, target: Engines) -> None:
    for array, place in zip(_arrays(source), _arrays(target), strict=True):
        place[...] = array


def _arrays(engine: Engines) -> Iterator[NDArray[Any]]:
    for values in engine:
        yield from values if isinstance(values, tuple) else (values,)


def mean_live(states: States) -> float:
    """Mean number of live requests over the states."""
    registers = states.engines.registers
    return float((registers[:, st.R_RUNNING] + registers[:, st.R_WAITING]).mean())


@compiled_allocating
def decide_on_all(engines: Engines, ranking: IntArray, words: IntArray, cold: bool, passes: int) -> int:
    """Decide on each state, over and over, as the simulator does; returns how many shut the gate.

    Args:
        engines: The states.
        ranking: What each one's last plan had ranked; put back before every decision.
        words: `decide.call_words()`, written to.
        cold: Forget that order instead, so that everything is sorted anew.
        passes: How often.
    """
    plan = empty_decision(engines.running.shape[1], engines.waiting.shape[1])
    plans = 0
    for _ in range(passes):
        for index in range(engines.now_s.shape[0]):
            engine = one(engines, index)
            engine.memory.rhythm[NEXT_PLAN_S] = 0.0
            engine.memory.rhythm[ITERATION] = 0.0
            known = 0 if cold else ranking[index, 0]
            engine.memory.ranking[0] = known
            for place in range(1, 1 + known):
                engine.memory.ranking[place] = ranking[index, place]
            decide_for(engine, plan, words)
            plans += plan.head[GATED]
    return plans


class Prepared(NamedTuple):
    """One state as Python hands it to `decide`."""

    engine: Engines
    view: EngineView
    running: IntArray
    waiting: IntArray


def prepared(states: States, index: int) -> Prepared:
    """Views of one state, its order as the last plan left it."""
    engine = part_of(states.engines, index)
    registers, limits = engine.registers, engine.limits
    engine.memory.rhythm[NEXT_PLAN_S] = 0.0
    engine.memory.ranking[:] = states.ranking[index]
    view = EngineView(
        float(engine.now_s[0]), int(registers[st.R_FREE_BLOCKS]), *(int(limits[place]) for place in range(4))
    )
    running, waiting = engine.running[: registers[st.R_RUNNING]], engine.waiting[: registers[st.R_WAITING]]
    return Prepared(engine, view, running, waiting)


def decide_from_python(state: Prepared, arguments: Arguments) -> float:
    """One call as the vLLM planner makes it; returns the seconds it took."""
    started_s = perf_counter()
    arguments.put(_RUNNING, state.running)
    arguments.put(_WAITING, state.waiting)
    arguments.put(_VIEW, state.view)
    decide.run(arguments)
    return perf_counter() - started_s


def arguments_for(state: Prepared, scheduler: int, plan: Decision) -> Arguments:
    """Arguments of a decision on this state."""
    engine = state.engine
    rows = state.running, state.waiting
    settings = scheduler, engine.knobs, engine.step_time, engine.memory
    return decide.arguments(engine.table, *rows, state.view, *settings, plan)


def empty_plan(states: States) -> Decision:
    """Buffers for decisions on the states."""
    plan: Decision = empty_decision.py_func(states.engines.running.shape[1], states.engines.waiting.shape[1])
    return plan
