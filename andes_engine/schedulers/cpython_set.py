"""The order in which CPython iterates over a set of small non-negative integers, in compiled code.

`authors_code` needs it: the published Andes code walks such a set and so decides by this order. An integer hashes to itself; the
table is probed linearly for `_LINEAR_PROBES` slots, then at pseudo-random places, and grows when three fifths full
(Objects/setobject.c, CPython 3.11 to 3.14: `set_add_entry`, `set_insert_clean`, `set_table_resize`). A test compares it with
the interpreter it runs under.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled

IntArray = NDArray[np.int64]

_MIN_SLOTS = 8
_LINEAR_PROBES = 9
_PERTURB_SHIFT = 5
_LARGE_SET = 50_000
_FREE = -1


@compiled
def set_order(members: IntArray) -> IntArray:
    """Members of a set in the order CPython iterates over it.

    Args:
        members: Distinct integers >= 0 in the order they are added. Shape (n,).

    Returns:
        The same integers. Shape (n,).
    """
    slots = np.full(_MIN_SLOTS, _FREE, dtype=np.int64)
    for used in range(1, len(members) + 1):
        _insert(slots, members[used - 1])
        if used * 5 >= (len(slots) - 1) * 3:
            slots = _grown(slots, used * 2 if used > _LARGE_SET else used * 4)
    return slots[slots != _FREE]


@compiled
def _insert(slots: IntArray, value: int) -> None:
    mask = len(slots) - 1
    perturb, start = value, value & mask
    while True:
        probes = _LINEAR_PROBES if start + _LINEAR_PROBES <= mask else 0
        for slot in range(start, start + probes + 1):
            if slots[slot] == _FREE:
                slots[slot] = value
                return
        perturb >>= _PERTURB_SHIFT
        start = (start * 5 + 1 + perturb) & mask


@compiled
def _grown(slots: IntArray, min_used: int) -> IntArray:
    size = _MIN_SLOTS
    while size <= min_used:
        size <<= 1
    larger = np.full(size, _FREE, dtype=np.int64)
    for value in slots:
        if value != _FREE:
            _insert(larger, value)
    return larger
