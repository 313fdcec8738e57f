"""Rows of the request table for the Python objects in a list, found by where these are in memory.

A live engine says hundreds of times per iteration which request it means, and each time a name is looked up the processor waits
for memory that it has not seen since the last iteration: the name, its hash, the dictionary. The addresses in a list are next to
each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.errors import AndesError
from andes_engine.native import fetch_ahead, list_item
from andes_engine.request import Requests

IntArray = NDArray[np.int64]

LISTED, COUNT, MISSING = range(3)


class Listed(NamedTuple):
    """A list, and what is known of where objects are.

    Attributes:
        what: Address of the list, how many items it has, and receives how many rows are not known. Shape (3,).
        rows: Receives the row of each item, -1 where it is not known. Shape (room,).
        slots: Rows plus one, at `_home` of the address or behind it where that is taken; 0 where nobody is. A power of two many.
        addresses: Of the object by row, 0 for none. Shape (rows,).
    """

    what: IntArray
    rows: IntArray
    slots: NDArray[np.int32]
    addresses: IntArray


def nothing_listed(rows: int = 1) -> Listed:
    """For a table of so many rows."""
    # at most half full, and small, as it is seldom in a cache when it is read
    slots = np.zeros(1 << (2 * rows - 1).bit_length(), dtype=np.int32)
    what, found, addresses = (np.zeros(size, dtype=np.int64) for size in (3, rows, rows))
    return Listed(what, found, slots, addresses)


@compiled
def _home(address: int, slots: int) -> int:
    """Where to look first: objects begin at multiples of 16 bytes, often at equal distances."""
    return ((address >> 4) * 40503 >> 11) & (slots - 1)


@compiled
def find_rows(listed: Listed, table: Requests) -> bool:
    """Find the rows of the items, which are about to be read; returns whether all are known."""
    what, rows = listed.what, listed.rows
    missing = 0
    for place in range(what[COUNT]):
        rows[place] = row = find_row(list_item(what[LISTED], place), listed)
        missing += row < 0
        fetch_ahead(table, max(row, 0))
    what[MISSING] = missing
    return missing == 0


@compiled
def find_row(address: int, listed: Listed) -> int:
    """Row of the object at an address, -1 where it is not known."""
    slots, addresses = listed.slots, listed.addresses
    slot = _home(address, len(slots))
    while slots[slot] != 0 and addresses[slots[slot] - 1] != address:
        slot = (slot + 1) & (len(slots) - 1)
    return slots[slot] - 1


class ListedRows:
    """What is known of one kind of objects, each of one request.

    Args:
        row_of: Rows by request id.
        rows: Size of the table.
    """

    def __init__(self, row_of: Mapping[str, int], rows: int) -> None:
        self._row_of = row_of
        self.start_anew(rows)

    def start_anew(self, rows: int) -> None:
        """Know nothing, for a table of so many rows."""
        self.listed = nothing_listed(rows)
        self._slots, self._addresses = self.listed.slots.data, self.listed.addresses.data
        self._kept: dict[int, tuple[Any, int]] = {}  # an address is its object's for as long as that is; and its home

    def keep(self, row: int, one: Any) -> None:
        """An object is the request's of this row."""
        kept = self._kept.get(row)
        if kept is not None:
            if kept[0] is one:
                return
            self.forget(row)
        slots, last = self._slots, len(self._slots) - 1
        slot = home = _home.py_func(id(one), last + 1)
        while slots[slot] != 0:
            slot = (slot + 1) & last
        slots[slot], self._addresses[row], self._kept[row] = row + 1, id(one), (one, home)

    def forget(self, row: int) -> None:
        """The request of a row has left. Those behind its slot move up, so that nobody is looked for in vain."""
        kept = self._kept.pop(row, None)
        if kept is None:
            return
        slots, last, slot = self._slots, len(self._slots) - 1, kept[1]
        while slots[slot] != row + 1:
            slot = (slot + 1) & last
        behind = (slot + 1) & last
        while slots[behind] != 0:
            if (behind - self._kept[slots[behind] - 1][1]) & last >= (behind - slot) & last:
                slots[slot], slot = slots[behind], behind
            behind = (behind + 1) & last
        slots[slot] = self._addresses[row] = 0

    def show(self, objects: list[Any]) -> Listed:
        """What compiled code reads to find the rows of these objects, for as long as the list is kept."""
        if len(objects) > len(self.listed.rows):
            self.listed = self.listed._replace(rows=np.zeros(2 * len(objects), dtype=np.int64))
        what = self.listed.what
        what[LISTED], what[COUNT] = id(objects), len(objects)
        return self.listed

    @property
    def missing(self) -> int:
        """How many rows were not found."""
        return int(self.listed.what[MISSING])

    def check(self) -> None:
        """Refuse a list in which even what was learned is not found.

        Raises:
            AndesError: If it has two objects of one request.
        """
        if self.missing:
            raise AndesError(
                f"a list of {self.listed.what[COUNT]} requests has one of them twice; each must be there once"
            )

    def learn(self, names: Sequence[str], objects: Sequence[Any]) -> None:
        """The rows of unknown ones are those of these names, in the list's order, by these objects; KeyError for no request's."""
        rows = self.listed.rows
        for place in np.flatnonzero(rows[: len(objects)] == -1).tolist():
            rows[place] = row = self._row_of[names[place]]
            self.keep(row, objects[place])
