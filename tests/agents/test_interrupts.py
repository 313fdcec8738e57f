"""An interrupt is heeded even where Python drops the exception that its handler raises."""

from __future__ import annotations

import signal

import pytest

from agents.interrupts import raise_if_interrupted, stoppable
from agents.pool import completed
from andes_engine.contender import Contender
from tests.agents.test_run_suite import small_suite


class Dropped:
    """Gets a signal while it is finalized."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_dropped_interrupt_ends_the_next_step(number: signal.Signals) -> None:
    jobs = [run.job for run in small_suite().runs([Contender("fcfs", "fcfs")])]
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stoppable():
        runs = completed(jobs)
        next(runs)
        Dropped(number)  # its exception goes nowhere
        next(runs)
    assert signal.getsignal(number) is before
    raise_if_interrupted()  # forgotten
