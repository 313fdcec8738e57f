"""Threads that go round the engines of a simulator."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from andes_engine.decision import decide
from andes_engine.native import Arguments
from andes_engine.sim.round import Shares, Surroundings, equal_shares, open_round, take_part
from andes_engine.sim.state import Engines
from andes_engine.sim.step import Scratch, scratch_for


class Crew:
    """Rounds of some threads, of which the caller is one.

    Args:
        engines: What they work on.
        around: What else they need.
        threads: How many.
        every_step: Skip no iteration, account for every request in each: the same outcome, slower.
    """

    def __init__(self, engines: Engines, around: Surroundings, threads: int = 1, every_step: bool = False) -> None:
        count = len(engines.now_s)
        self._count, threads = count, min(threads, count)
        scratch = [scratch_for(engines, decide.call_words(), every_step) for _ in range(threads)]
        self._all = _Round(engines, around, equal_shares(0, count, threads), scratch)
        self._helpers = [_Helper(arguments) for arguments in self._all.arguments[1:]]
        self._one = _Round(engines, around, equal_shares(0, 1, 1), scratch[:1])  # the caller's, too

    def run(self, work: int) -> None:
        """Do it for every engine: a sum of `round.ADVANCE`, `ADD_UP` and `OBSERVE`.

        Raises:
            NativeError: If the compiled code gave up, in any thread.
        """
        self._all.open(work)
        calls: list[Future[None]] = []
        try:
            calls.extend(helper.call() for helper in self._helpers)
            take_part.run(self._all.arguments[0])
        finally:
            if self._all.shares.done[0] < self._count:  # somebody is still at it, or has failed, or it was Ctrl-C
                wait(calls)
        for call in calls:
            if call.done():
                call.result()

    def run_one(self, index: int, work: int) -> None:
        """Do it for one engine; errors as in `run`."""
        self._one.shares.bounds[:] = index, index + 1
        self._one.open(work)
        take_part.run(self._one.arguments[0])


class _Helper:
    """A thread with arguments, and so scratch, of its own."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments, self._thread = arguments, ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def call(self) -> Future[None]:
        """Call it to the round that is open; a call to an earlier one that it has not heard yet will do."""
        if self._last is None or self._last.running() or self._last.done():
            self._last = self._thread.submit(take_part.run, self._arguments)
        return self._last


class _Round:
    """Calls for some shares, again and again."""

    def __init__(self, engines: Engines, around: Surroundings, shares: Shares, scratch: Sequence[Scratch]) -> None:
        self.shares = shares
        self.arguments: list[Arguments] = [
            take_part.arguments(engines, around, shares, mine, of_thread) for mine, of_thread in enumerate(scratch)
        ]
        self._opening = open_round.arguments(shares)

    def open(self, work: int) -> None:
        self.shares.work[0] = work
        open_round.run(self._opening)
