"""Rows of live requests by name."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from andes_engine.listed_rows import ListedRows
from andes_engine.request import Requests, empty_requests

IntArray = NDArray[np.int64]


_UNTOUCHED = empty_requests(1).view(np.ndarray)[0]


class RequestTable:
    """Rows with names: hands out and takes back rows of a `Requests` table that grows by doubling.

    Attributes:
        rows: The table, for compiled code.
        columns: Its fields, for Python: a recarray looks a field up anew each time, which takes microseconds.
        names: Finds rows by the ids that requests were added with, themselves and not their equals.
        objects: Finds rows by what the engine has for each request, if somebody has said which that is.
        row: Row of a request by its id; KeyError for no request's.
        find: The same; None for no request's.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._take_table(empty_requests(capacity))
        self._row_of: dict[str, int] = {}
        self.row, self.find = self._row_of.__getitem__, self._row_of.get
        self._name_of: dict[int, str] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self.names = ListedRows(self._row_of, capacity)
        self.objects = ListedRows(self._row_of, capacity)

    def __len__(self) -> int:
        return len(self._row_of)

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, ttft_s: float, latency_s: float, user: int = 0
    ) -> int:
        """Take a free row for a request; an id already present is an error."""
        if request_id in self._row_of:
            raise KeyError(f"request '{request_id}' is already in the table")
        if not self._free:
            self._grow()
        row, columns = self._free.pop(), self.columns
        self._plain[row] = _UNTOUCHED
        columns.arrival_s[row], columns.prompt_tokens[row] = arrival_s, prompt_tokens
        columns.ttft_s[row], columns.latency_s[row] = ttft_s, latency_s
        columns.user[row] = user
        self._row_of[request_id], self._name_of[row] = row, request_id
        self.names.keep(row, request_id)
        return row

    def remove(self, request_id: str) -> None:
        """Give the row back."""
        row = self._row_of.pop(request_id)
        del self._name_of[row]
        self.names.forget(row)
        self.objects.forget(row)
        self._free.append(row)

    def rows_of(self, request_ids: Collection[str]) -> IntArray:
        """Rows of requests, in their order. Shape (n,)."""
        return np.fromiter(map(self._row_of.__getitem__, request_ids), np.int64, len(request_ids))

    def names_of(self, rows: IntArray) -> list[str]:
        """Requests of rows, in their order."""
        return [*map(self._name_of.__getitem__, rows.tolist())] if len(rows) else []

    def _take_table(self, rows: Requests) -> None:
        self.rows, self._plain = rows, rows.view(np.ndarray)
        self.columns = SimpleNamespace(**{name: self._plain[name] for name in rows.dtype.names or ()})

    def _grow(self) -> None:
        old, size = self.rows, len(self.rows)
        self._take_table(empty_requests(2 * size))
        self.rows[:size] = old
        self.names.start_anew(2 * size)
        self.objects.start_anew(2 * size)
        self._free = list(range(2 * size - 1, size - 1, -1))
