"""Threads that share out pieces of work."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from andes_engine.knobs import Knobs
from andes_engine.sim.simulator import Simulator
from andes_engine.sim.team import Team
from tests.builders import make_engine, make_workload


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_run_once(threads: int) -> None:
    team, done = Team(threads), np.zeros(200, dtype=int)

    def piece(place: int) -> Callable[[], None]:
        def run() -> None:
            done[place] += 1

        return run

    for _ in range(20):
        team.run([piece(place) for place in range(200)])
    assert (done == 20).all()


def test_pieces_run_beside_each_other() -> None:
    meet = threading.Barrier(2, timeout=10.0)
    Team(2).run([lambda: print(meet.wait())] * 2)  # one after the other, the first would wait in vain


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_a_piece_is_raised(threads: int) -> None:
    def fail() -> None:
        raise ValueError("no such engine")

    with pytest.raises(ValueError, match="no such engine"):
        Team(threads).run([lambda: None, fail, lambda: None])


def test_potentials_start_anew_with_each_workload() -> None:
    simulator = Simulator([make_engine(200)] * 5, 60, threads=2)
    for seed in (1, 2):
        workload = make_workload(seed, 60, 20.0)
        for index in range(5):
            simulator.reset(index, workload.head(60 - 10 * index), "andes", Knobs())
        for until_s in (0.5, 2.0, 9.0):
            simulator.team.run(simulator.step_pieces(np.full(5, until_s)))
            found = simulator.latest_potentials()
            again = [simulator.record(index, "andes").qoe.sum() for index in range(5)]
            np.testing.assert_allclose(found, again, atol=1e-9)
