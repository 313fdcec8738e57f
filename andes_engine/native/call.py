"""What only compiled code can do, for modules that are imported where nothing is compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


class _Intrinsic:
    """Stands for the function of that name in `entry`, which is numba's, until something that calls it is compiled."""

    def __init__(self, in_python: Callable[..., int]) -> None:
        self._in_python = in_python

    @property
    def _numba_type_(self) -> Any:
        from numba.core.registry import cpu_target

        from andes_engine.native import entry

        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(getattr(entry, self._in_python.__name__))

    def __call__(self, *values: Any) -> int:
        return self._in_python(*values)


@_Intrinsic
def call(words: Any, arguments: Any) -> int:
    """See `entry.call`."""
    raise NotImplementedError("a native function is called from Python by itself, not through its address")


@_Intrinsic
def add_to(cells: Any, index: int, amount: int) -> int:
    """See `entry.add_to`; in Python for one thread, as all that is compiled can be run there."""
    was = int(cells[index])
    cells[index] += amount
    return was


@_Intrinsic
def swap_in(cells: Any, index: int, value: int) -> int:
    """See `entry.swap_in`; likewise."""
    was = int(cells[index])
    cells[index] = value
    return was


@_Intrinsic
def list_item(listed: int, place: int) -> int:
    """See `entry.list_item`."""
    return id(ctypes.cast(int(listed), ctypes.py_object).value[place])


@_Intrinsic
def list_length(listed: int) -> int:
    """See `entry.list_length`."""
    return len(ctypes.cast(int(listed), ctypes.py_object).value)


@_Intrinsic
def word_at(address: int, offset: int) -> int:
    """See `entry.word_at`."""
    return ctypes.c_int64.from_address(address + offset).value


@_Intrinsic
def fetch_line_ahead(address: int) -> int:
    """See `entry.fetch_line_ahead`."""
    return 0


@_Intrinsic
def fetch_ahead(array: Any, index: int) -> int:
    """See `entry.fetch_ahead`."""
    return 0
