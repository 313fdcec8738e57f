"""Functions compiled once to object code and called by address, from Python and from other compiled code alike.

Two things come of it. A server starts in a second without reading a pickle, which is what numba's own cache is made of. And the
decision exists once as machine code: simulator and vLLM call the same, and nobody compiles it again into theirs.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import object_folder
from andes_engine.errors import AndesError
from andes_engine.native import objects
from andes_engine.native.arguments import Arguments
from andes_engine.native.helping import claimed, start_helpers

_Entry = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_LockedEntry = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)

_made: list[NativeFunction] = []
"""Those of the modules that are imported."""


class NativeError(AndesError, RuntimeError):
    """Compiled code gave up, for lack of memory; its own message is on stderr."""


class NativeFunction:
    """A compiled function without a result: it writes to the arrays it is given.

    Args:
        function: What to compile, in the subset of Python that numba knows.
        example: Makes one value per argument; types are taken from it.
        where: What it is called in which module, as ``module:name``; by default as the function.
        locked: Whether it is called with the interpreter's lock held, to look into Python's lists.
    """

    def __init__(
        self,
        function: Callable[..., None],
        example: Callable[[], tuple[Any, ...]],
        where: str | None = None,
        locked: bool = False,
    ) -> None:
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.python = function
        """The function as it was written."""
        self.where = where or f"{function.__module__}:{function.__name__}"
        self._example = example
        self._kind = _LockedEntry if locked else _Entry

    @cached_property
    def _examples(self) -> tuple[Any, ...]:
        return self._example()

    @cached_property
    def address(self) -> int:
        """Where the entry point is, after loading it or compiling it; the first call in a process takes a while.

        Other functions that are not kept either are compiled in other processes meanwhile: whoever needs one soon needs more.
        """
        found = objects.read(self._path)
        if found is None:
            with claimed(self._path):
                found = objects.read(self._path) or self._compile_and_keep(_missing(self))
        return objects.load(found)

    def compile_unless_claimed(self) -> None:
        """Compile and keep it, unless that is done or somebody is at it."""
        with claimed(self._path, wait=False) as ours:
            if ours and not self._path.exists():
                self._compile_and_keep()

    @property
    def _path(self) -> Path:
        return object_folder() / f"{self.python.__module__}.{self.__name__}.o"

    def _compile_and_keep(self, meanwhile: Sequence[str] = ()) -> objects.ObjectCode:
        start_helpers(meanwhile)
        found = self._compile()
        objects.keep(self._path, found)
        return found

    def _compile(self) -> objects.ObjectCode:
        from andes_engine.native.entry import compile_entry  # half a second of imports, for once in a while

        return compile_entry(self.python, self._examples)

    @cached_property
    def _entry(self) -> Callable[[int], int]:
        return self._kind(self.address)

    def call_words(self) -> NDArray[np.int64]:
        """What compiled code calls this function with, see `entry.call`: its address, and room for its arguments."""
        words = np.zeros(1 + Arguments(self._examples).size, dtype=np.int64)
        words[0] = self.address
        return words

    def arguments(self, *values: Any) -> Arguments:
        """Arguments for many calls of `run`, of which only some change from call to call.

        Raises:
            ArgumentError: If they are not of the types the function is compiled for.
        """
        arguments = Arguments(self._examples)
        arguments.put_all(values)
        return arguments

    def run(self, arguments: Arguments) -> None:
        """Call it, the interpreter's lock released unless it is made to be called with it.

        Raises:
            NativeError: If the compiled code raised.
        """
        if self._entry(arguments.address) == 0:
            raise NativeError(f"compiled function '{self.__name__}' failed")

    def __call__(self, *values: Any) -> None:
        """Call it once; errors as in `arguments` and `run`."""
        self.run(self.arguments(*values))


def native(
    example: Callable[[], tuple[Any, ...]], where: str | None = None, locked: bool = False
) -> Callable[[Callable[..., None]], NativeFunction]:
    """Make a function native that other processes find `where` it is; see `NativeFunction`."""

    def make(function: Callable[..., None]) -> NativeFunction:
        _made.append(made := NativeFunction(function, example, where, locked))
        return made

    return make


def _missing(wanted: NativeFunction) -> list[str]:
    """Where those functions of this program are that are not kept, besides this one; callers before what they call."""
    if wanted not in _made or not os.access(object_folder(), os.W_OK):
        return []
    return [made.where for made in reversed(_made) if made is not wanted and not made._path.exists()]
