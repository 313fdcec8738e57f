"""Threads that go round the engines of a simulator."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from andes_engine.knobs import Knobs
from andes_engine.native import NativeError
from andes_engine.sim.crew import Crew
from andes_engine.sim.round import ADD_UP, ADVANCE, OBSERVE, Surroundings, equal_shares, surroundings_of, take_part
from andes_engine.sim.simulator import Simulator
from andes_engine.sim.state import Engines
from tests.builders import make_engine, make_workload

ENGINES = 5


def _simulator(threads: int) -> Simulator:
    simulator = Simulator([make_engine(200)] * ENGINES, 60, threads=threads)
    for index in range(ENGINES):
        simulator.reset(index, make_workload(index, 60, 20.0), "andes", Knobs())
    return simulator


def _crew(threads: int) -> tuple[Crew, Engines, Surroundings]:
    engines = _simulator(1).engines
    around = surroundings_of(engines)
    return Crew(engines, around, threads), engines, around


@pytest.mark.parametrize(("first", "end", "count"), [(0, 1, 1), (0, 7, 3), (2, 64, 5)])
def test_shares_are_all_engines_once(first: int, end: int, count: int) -> None:
    shares = equal_shares(first, end, count)
    taken = [index for low, high in pairwise(shares.bounds) for index in range(low, high)]
    assert taken == [*range(first, end)]
    assert (shares.next == shares.bounds[1:]).all(), "no round is open"


@pytest.mark.parametrize("threads", [2, 3, 9])
def test_many_short_rounds_are_what_one_thread_makes_of_them(threads: int) -> None:
    alone, together = _simulator(1), _simulator(threads)
    for step in range(1, 400):
        until_s = np.full(ENGINES, 0.02 * step)
        np.testing.assert_array_equal(alone.step(until_s), together.step(until_s))
        np.testing.assert_array_equal(alone.latest_potentials(), together.latest_potentials())
    np.testing.assert_array_equal(alone.engines.counters, together.engines.counters)


class _Asleep:
    """A thread that does nothing until it is woken."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[None], Any, Any]] = []

    def submit(self, call: Any, arguments: Any) -> Future[None]:
        self.calls.append((Future(), call, arguments))
        return self.calls[-1][0]

    def wake(self) -> None:
        future, call, arguments = self.calls.pop()
        future.set_running_or_notify_cancel()
        future.set_result(call(arguments))


def test_a_thread_that_comes_late_changes_nothing_and_helps_with_the_next_round() -> None:
    crew, engines, around = _crew(2)
    crew._helpers[0]._thread = asleep = _Asleep()  # type: ignore[assignment]
    for until_s in (0.5, 0.6):
        around.until_s[:] = until_s
        crew.run(ADVANCE)
    assert len(asleep.calls) == 1, "who has not heard the last call is not called again"
    before = engines.counters.copy()
    around.until_s[:] = 1.0
    asleep.wake()
    np.testing.assert_array_equal(before, engines.counters)

    crew._helpers[0].call()  # as a call to the round before
    crew._all.open(ADVANCE + OBSERVE)
    asleep.wake()
    assert crew._all.shares.done[0] == ENGINES
    assert (engines.now_s[:, 0] >= 1.0).all() and (around.observed_s >= 1.0).all()


@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_thread_raises_is_raised(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    crew, *_ = _crew(2)
    run = take_part.run

    def fail_or_run(arguments: Any) -> None:
        mine = crew._all.arguments.index(arguments)
        if mine == failing:
            crew._all.shares.next[mine] += 1  # it has taken an engine, and never gets done with it
            raise NativeError("out of memory")
        run(arguments)

    monkeypatch.setattr(take_part, "run", fail_or_run)
    with pytest.raises(NativeError, match="out of memory"):
        crew.run(ADD_UP)


def test_an_interrupted_round_is_over_when_the_interrupt_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, engines, around = _crew(2)
    run, around.until_s[:] = take_part.run, 1.0

    def run_unless_interrupted(arguments: Any) -> None:
        if arguments is crew._all.arguments[0]:
            raise KeyboardInterrupt
        run(arguments)

    monkeypatch.setattr(take_part, "run", run_unless_interrupted)
    with pytest.raises(KeyboardInterrupt):
        crew.run(ADVANCE)
    assert crew._all.shares.done[0] == ENGINES and (engines.now_s[:, 0] >= 1.0).all()


def test_potentials_start_anew_with_each_workload() -> None:
    simulator = Simulator([make_engine(200)] * ENGINES, 60, threads=2)
    for seed in (1, 2):
        workload = make_workload(seed, 60, 20.0)
        for index in range(ENGINES):
            simulator.reset(index, workload.head(60 - 10 * index), "andes", Knobs())
        for until_s in (0.5, 2.0, 9.0):
            simulator.step_unseen(np.full(ENGINES, until_s))
            found = simulator.latest_potentials()
            again = [simulator.record(index, "andes").qoe.sum() for index in range(ENGINES)]
            np.testing.assert_allclose(found, again, atol=1e-9)
