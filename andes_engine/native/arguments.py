"""Arguments of a native function, as memory words: the address and shape of each array, each number as it is.

The layout is that of the arguments one after the other, named tuples taken apart: an array is its address and then its shape, a
whole number an int64, any other number a float64. `entry` reads it on the other side.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import AndesError

WORD_BYTES = 8


class ArgumentError(AndesError, TypeError):
    """An argument is not what the compiled code was made for; it would read foreign memory."""


def leaves(value: Any) -> Iterator[Any]:
    """Arrays and numbers of an argument, in order."""
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


class Arguments:
    """What a native function will be called with; keeps the arrays alive for as long as it points to them.

    Args:
        values: One example per argument, which also is its first value.
    """

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._slots = []
        start = 0
        for value in values:
            self._slots.append(_Slot(value, start))
            start += self._slots[-1].words
        words: NDArray[np.int64] = np.zeros(start, dtype=np.int64)
        self._words = words.data
        self._kept: list[Any] = [None] * len(values)
        self.address, self.size = words.ctypes.data, start
        self.put_all(values)

    def put(self, index: int, value: Any) -> None:
        """Replace one argument.

        Raises:
            ArgumentError: If an array has another dtype or number of axes than the example, or is not contiguous.
        """
        self._slots[index].write(self._words, value)
        self._kept[index] = value

    def put_all(self, values: tuple[Any, ...]) -> None:
        """Replace all arguments that are other objects than before; errors as in `put`."""
        if len(values) != len(self._slots):
            raise ArgumentError(f"{len(values)} arguments given, {len(self._slots)} wanted")
        for index, (value, kept) in enumerate(zip(values, self._kept, strict=True)):
            if value is not kept:
                self.put(index, value)


class _Slot:
    """Where one argument lies and how it is written."""

    def __init__(self, example: Any, start: int) -> None:
        self._offset = start * WORD_BYTES
        self._kinds = [(leaf.dtype, leaf.ndim) if isinstance(leaf, np.ndarray) else None for leaf in leaves(example)]
        self._format = struct.Struct("=" + "".join(map(_format, leaves(example))))
        self._flat = isinstance(example, tuple) and len(example) == len(self._kinds)
        self._only_numbers = not any(self._kinds)
        self.words = self._format.size // WORD_BYTES

    def write(self, words: memoryview, value: Any) -> None:
        given = value if self._flat and isinstance(value, tuple) else [*leaves(value)]
        if len(given) != len(self._kinds):
            raise ArgumentError(f"an argument with {len(given)} parts given, {len(self._kinds)} wanted")
        numbers = given
        if not self._only_numbers:
            numbers = []
            for kind, leaf in zip(self._kinds, given, strict=True):
                numbers += (leaf,) if kind is None else _words_of(leaf, *kind)
        try:
            self._format.pack_into(words, self._offset, *numbers)
        except struct.error as error:
            raise ArgumentError(f"a number where an array is wanted, or the other way round: {error}") from None


def _format(leaf: Any) -> str:
    if isinstance(leaf, np.ndarray):
        return "q" * (1 + leaf.ndim)
    return "q" if isinstance(leaf, (int, np.integer)) else "d"


def _words_of(leaf: Any, dtype: np.dtype[Any], ndim: int) -> tuple[int, ...]:
    """Address and shape of an array that is as the example was."""
    if not isinstance(leaf, np.ndarray):
        raise ArgumentError(f"a {type(leaf).__name__} given, an array of {dtype} wanted")
    if leaf.dtype != dtype or leaf.ndim != ndim or not leaf.flags.c_contiguous:
        raise ArgumentError(
            f"an array of {leaf.dtype} with {leaf.ndim} axes (contiguous: {leaf.flags.c_contiguous}) given, a contiguous one "
            f"of {dtype} with {ndim} wanted"
        )
    return leaf.__array_interface__["data"][0], *leaf.shape
