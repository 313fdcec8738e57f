"""Time that passes only when everything waits: an event loop, and a clock with a scripted source for the threaded pacer."""

from __future__ import annotations

import asyncio
import queue
import selectors
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for the time out of `select`, moves the clock there."""

    now_s = 0.0
    settle_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0) or (super().select(self.settle_s) if timeout != 0 else [])
        assert ready or timeout is not None, "everything waits and nothing is left to happen"
        if not ready and timeout:
            self.now_s += timeout
        return ready


def run_virtually(task: Coroutine[Any, Any, Result], settle_s: float = 0.0) -> Result:
    """Run a coroutine on an event loop whose clock starts at 0 and jumps from one timer to the next.

    Args:
        task: What to run.
        settle_s: Real time without a byte on any socket before the clock jumps; for tasks that talk through the kernel.
    """
    selector = _JumpingSelector()
    selector.settle_s = settle_s
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now_s  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(task)


def lose_time(seconds: float) -> None:
    """Let virtual time pass without giving the event loop a turn, as a busy process does."""
    asyncio.get_running_loop()._selector.now_s += seconds  # type: ignore[attr-defined]


class ScriptedClock:
    """A clock for `Pacer` and the source it reads: item i comes at `times_s[i]`, then `error` if there is one.

    Time moves in `wait`, to the next item or the end of the wait, whatever is first. The reading thread gets one item at a time
    and the waiting one goes on when it has handed it over, so every run is the same.
    """

    def __init__(self, times_s: Sequence[float], items: Sequence[Any], error: Exception | None = None) -> None:
        self.time_s = 0.0
        self.closed = threading.Event()
        self._script = list(zip(times_s, items, strict=True))
        self._end: tuple[Any, ...] = () if error is None else (error,)
        self._released: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def now_s(self) -> float:
        return self.time_s

    def wait(self, changed: threading.Condition, timeout_s: float | None) -> None:
        until_s = float("inf") if timeout_s is None else self.time_s + timeout_s
        if self._script and self._script[0][0] <= until_s:
            when_s, item = self._script.pop(0)
            self.time_s = max(self.time_s, when_s)
            self._released.put((None, item))
        elif timeout_s is not None:
            self.time_s = until_s
            return
        else:
            self._released.put(self._end)
        assert changed.wait(30.0), "the reading thread handed nothing over"

    def source(self) -> Iterator[Any]:
        try:
            while len(released := self._released.get()) == 2:
                yield released[1]
            if released:
                raise released[0]
        finally:
            self.closed.set()
