"""Ctrl-C, and the SIGTERM by which a cluster ends a job, as one exception that is not lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_came = False


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM as KeyboardInterrupt, remembered for `raise_if_interrupted`; nothing outside the main thread."""
    global _came
    _came, before = False, {}
    with suppress(ValueError):  # not in the main thread; then whoever runs that thread decides
        before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _came = False
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if one came since `stoppable` began.

    Python drops an exception that a signal handler raises while a finalizer or a weak reference's callback runs, and extension
    modules clear some; so a long loop asks between its steps.
    """
    if _came:
        raise KeyboardInterrupt


def _interrupt(*_: Any) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt
