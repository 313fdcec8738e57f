"""A function for numba that does not import numba: importing it takes longer than loading all compiled code that is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any


class CompiledFunction:
    """A function that is compiled when it is first called: from Python, or from a function that is being compiled.

    Numba takes it for a function of its own by three names: `_numba_type_` (0.65: `core/typing/typeof.py`), `targetoptions` and
    `py_func` (`core/untyped_passes.py`, `InlineInlinables`).

    Args:
        function: In the subset of Python that numba knows.
        allocates: Whether it makes arrays, or calls a function that hands back arrays.
        into_caller: Whether it is compiled as a part of each caller.
        kept: Whether what is compiled for calls from Python is kept on disk; asked when it is compiled.
        error_model: What dividing by zero does, as in Python or as in NumPy.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        allocates: bool,
        into_caller: bool,
        kept: Callable[[], bool],
        error_model: str = "python",
    ) -> None:
        update_wrapper(self, function)
        self.py_func = function
        """The function as it was written."""
        self.targetoptions = {"inline": "always"} if into_caller else {}
        self._options = {"nogil": True, "_nrt": allocates, "error_model": error_model, **self.targetoptions}
        self._kept = kept

    def __call__(self, *values: Any) -> Any:
        """Call it from Python; the first call for new types imports numba and compiles, or loads what is kept."""
        return self._from_python(*values)

    @property
    def signatures(self) -> list[Any]:
        """What it has been compiled for in this process."""
        made = [vars(self).get(name) for name in ("_from_python", "_part")]
        return [signature for dispatcher in made if dispatcher is not None for signature in dispatcher.signatures]

    @property
    def _numba_type_(self) -> Any:
        from andes_engine.native.parts import type_of

        return type_of(self._part)

    @cached_property
    def _from_python(self) -> Any:
        from andes_engine.native.parts import for_python

        return for_python(self.py_func, self._kept(), self._options)

    @cached_property
    def _part(self) -> Any:
        from andes_engine.native.parts import part

        return part(self.py_func, self._options)
