"""Functions compiled once to object code and called by address, from Python and from other compiled code alike.

Two things come of it. A server starts in a second without reading a pickle, which is what numba's own cache is made of. And the
decision exists once as machine code: simulator and vLLM call the same, and nobody compiles it again into theirs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import object_folder
from andes_engine.errors import AndesError
from andes_engine.native import objects
from andes_engine.native.arguments import Arguments

_Entry = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


class NativeError(AndesError, RuntimeError):
    """Compiled code gave up, for lack of memory; its own message is on stderr."""


class NativeFunction:
    """A compiled function without a result: it writes to the arrays it is given.

    Args:
        function: What to compile, in the subset of Python that numba knows.
        example: Makes one value per argument; types are taken from it.
    """

    def __init__(self, function: Callable[..., None], example: Callable[[], tuple[Any, ...]]) -> None:
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.python = function
        """The function as it was written."""
        self._example = example

    @cached_property
    def _examples(self) -> tuple[Any, ...]:
        return self._example()

    @cached_property
    def address(self) -> int:
        """Where the entry point is, after loading it or compiling it; the first call in a process takes a while."""
        path = object_folder() / f"{self.python.__module__}.{self.__name__}.o"
        found = objects.read(path)
        if found is None:
            found = self._compile()
            objects.keep(path, found)
        return objects.load(found)

    def _compile(self) -> objects.ObjectCode:
        from andes_engine.native.entry import compile_entry  # half a second of imports, for once in a while

        return compile_entry(self.python, self._examples)

    @cached_property
    def _entry(self) -> Callable[[int], int]:
        return _Entry(self.address)

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
        """Call it, the interpreter's lock released.

        Raises:
            NativeError: If the compiled code raised.
        """
        if self._entry(arguments.address) == 0:
            raise NativeError(f"compiled function '{self.__name__}' failed")

    def __call__(self, *values: Any) -> None:
        """Call it once; errors as in `arguments` and `run`."""
        self.run(self.arguments(*values))


def native(example: Callable[[], tuple[Any, ...]]) -> Callable[[Callable[..., None]], NativeFunction]:
    """Make a function native; see `NativeFunction`."""
    return lambda function: NativeFunction(function, example)
