"""Threads that share out work which does not hold the interpreter's lock; the caller is one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count


class Team:
    """Some threads for many short rounds of work.

    Args:
        threads: How many work at once, the caller included.
    """

    def __init__(self, threads: int) -> None:
        self._helpers = threads - 1
        self._pool = ThreadPoolExecutor(self._helpers) if threads > 1 else None

    def run(self, pieces: Sequence[Callable[[], None]]) -> None:
        """Run all pieces, each once; whoever is free takes the next. An error of a piece is raised when all have ended."""
        if self._pool is None or len(pieces) == 1:
            for piece in pieces:
                piece()
            return
        places = count()

        def take_pieces() -> None:
            while (place := next(places)) < len(
                pieces
            ):  # one step under the interpreter's lock, so nobody takes it twice
                pieces[place]()

        helpers = [self._pool.submit(take_pieces) for _ in range(self._helpers)]
        try:
            take_pieces()
        finally:
            for helper in helpers:
                helper.result()
