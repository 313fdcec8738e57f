"""Calls of native functions from compiled code, for modules that are imported where nothing is compiled."""

from __future__ import annotations

from typing import Any


class _Call:
    """Stands for `entry.call`, which is numba's, until something that calls it is compiled."""

    @property
    def _numba_type_(self) -> Any:
        from numba.core.registry import cpu_target

        from andes_engine.native import entry

        cpu_target.typing_context.refresh()
        return cpu_target.typing_context.resolve_value_type(entry.call)

    def __call__(self, words: Any, arguments: Any) -> int:
        raise NotImplementedError("a native function is called from Python by itself, not through its address")


call: Any = _Call()
"""See `entry.call`."""
