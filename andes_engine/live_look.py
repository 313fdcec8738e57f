"""What the request table knows of a real engine's requests, brought up to date from one look at the engine to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import blocks_for
from andes_engine.listed_rows import COUNT, Listed, find_rows, nothing_listed
from andes_engine.native import native
from andes_engine.request import Requests, empty_requests
from andes_engine.request_table import RequestTable
from andes_engine.vllm.running_views import RunningViews, Since
from andes_engine.vllm.waiting_views import WaitingViews

IntArray = NDArray[np.int64]

_NUMBER, _BLOCK_TOKENS, _OUT, _UNSURE = range(4)
_NOBODY = np.zeros(0, dtype=np.int64)


def _example() -> tuple[object, ...]:
    return nothing_listed(), nothing_listed(), empty_requests(1), _NOBODY, _NOBODY, np.zeros(4, np.int64)


@native(_example, locked=True)
def look_again(
    running: Listed, waiting: Listed, table: Requests, seen: IntArray, out: IntArray, look: IntArray
) -> None:
    """Find the rows of all requests; those that run have computed one token since the last look.

    Does nothing if a row is not known.

    Args:
        running: The running requests.
        waiting: The waiting requests; receives only those that may be admitted.
        table: Live requests.
        seen: Number of the last look at each row; of this one where its computed tokens are up to date. Shape (rows,).
        out: Number of the last look in which a row was not to be admitted. Shape (rows,).
        look: Number of this look; tokens of a block if blocks held are those that the tokens fill, or 0 to count nothing; how
            many are not to be admitted; and receives how many running requests were not seen in the look before, so that nothing
            is known of them. Shape (4,).
    """
    known = find_rows(running, table)
    known &= find_rows(waiting, table)
    if not known:
        return
    number = look[_NUMBER]
    if look[_BLOCK_TOKENS] > 0:
        look[_UNSURE] = _count_on(running, table, seen, number, look[_BLOCK_TOKENS])
    if look[_OUT] > 0:
        _leave_out(waiting, out, number)


@compiled
def _leave_out(waiting: Listed, out: IntArray, number: int) -> None:
    count = 0
    for place in range(waiting.what[COUNT]):
        row = waiting.rows[place]
        waiting.rows[count] = row
        count += out[row] != number
    waiting.what[COUNT] = count


@compiled
def _count_on(running: Listed, table: Requests, seen: IntArray, number: int, block_tokens: int) -> int:
    unsure = 0
    for place in range(running.what[COUNT]):
        row = running.rows[place]
        table.computed_tokens[row] += seen[row] == number - 1
        table.held_blocks[row] = blocks_for(table.computed_tokens[row], block_tokens)
        unsure += seen[row] < number - 1
        seen[row] = number
    return unsure


class LiveLook:
    """Finds the rows of an engine's requests, and writes down what has changed of them.

    Attributes:
        running: Rows of the running requests, in the engine's order, the first `COUNT`; until the next look, or anybody else's.
        waiting: Rows of those that may be admitted, likewise.

    Args:
        table: Live requests.
    """

    def __init__(self, table: RequestTable) -> None:
        self._table = table
        self._look: IntArray = np.zeros(4, dtype=np.int64)
        self._last_running = self._last_waiting = 0  # numbers of the views
        self._make_room(len(table.rows))
        self.running, self.waiting = table.objects.listed, table.names.listed
        self._arguments = look_again.arguments(*self._given())

    def _make_room(self, rows: int) -> None:
        self._seen: IntArray = np.zeros(rows, dtype=np.int64)
        self._out: IntArray = np.zeros(rows, dtype=np.int64)

    def _given(self) -> tuple[object, ...]:
        return self.running, self.waiting, self._table.rows, self._seen, self._out, self._look

    def forget(self, row: int) -> None:
        """The request of a row has left."""
        if row < len(self._seen):
            self._seen[row] = 0

    def forget_all(self) -> None:
        """Read all of them at the next look."""
        self._last_running = self._last_waiting = 0

    def rows(self) -> tuple[IntArray, IntArray]:
        """Rows of the running requests, and of those that may be admitted, likewise. Shapes (r,) and (w,)."""
        running, waiting = (listed.rows[: listed.what[COUNT]] for listed in (self.running, self.waiting))
        return running, waiting

    def note(self, running: RunningViews, waiting: WaitingViews) -> None:
        """Bring the table up to date."""
        if len(self._seen) < len(self._table.rows):
            self._make_room(len(self._table.rows))
        since = running.since if running.number == self._last_running + 1 else None
        self._look[_NUMBER] += 1
        self._look[_BLOCK_TOKENS] = 0 if since is None else since.block_tokens
        self._last_running = running.number
        if since is not None:
            self._note_asked(since)
        self._look[_OUT] = len(waiting.out)
        for request_id in waiting.out:
            self._out[self._table.row(request_id)] = self._look[_NUMBER]
        self._find(running, waiting)
        if since is None or self._look[_UNSURE]:
            self._read(running)
        self._note_found(waiting)

    def _note_asked(self, since: Since) -> None:
        columns, number = self._table.columns, self._look[_NUMBER]
        for one, request_id, tokens in since.asked:
            row = self._table.row(request_id)
            self._table.objects.keep(row, one)
            columns.computed_tokens[row], self._seen[row] = tokens, number

    def _find(self, running: RunningViews, waiting: WaitingViews) -> None:
        objects, names = self._table.objects, self._table.names
        self._look_at(running, waiting)
        if objects.missing or names.missing:
            objects.learn(running.request_ids, running.objects)
            names.learn(waiting.request_ids, waiting.request_ids)
            self._look_at(running, waiting)
            objects.check()
            names.check()

    def _look_at(self, running: RunningViews, waiting: WaitingViews) -> None:
        self.running = self._table.objects.show(running.objects)
        self.waiting = self._table.names.show(waiting.request_ids)
        self._arguments.put_all(self._given())
        look_again.run(self._arguments)

    def _read(self, running: RunningViews) -> None:
        rows, columns = self.running.rows[: len(running)], self._table.columns
        columns.computed_tokens[rows] = running.computed_tokens
        columns.held_blocks[rows] = running.held_blocks
        self._seen[rows] = self._look[_NUMBER]

    def _note_found(self, waiting: WaitingViews) -> None:
        """What the prefix cache and host memory hold of those that wait."""
        columns, number = self._table.columns, waiting.number
        if waiting.changes is not None and number == self._last_waiting + 1:
            for request_id, tokens in waiting.changes.items():
                columns.cached_tokens[self._table.row(request_id)] = tokens
        elif waiting.cached_tokens is not None:
            columns.cached_tokens[self._table.rows_of(waiting.request_ids)] = waiting.cached_tokens
        self._last_waiting = number
        if waiting.host_tokens is not None:
            columns.host_tokens[self._table.rows_of(waiting.request_ids)] = waiting.host_tokens
