"""Numba's own form of the functions of this package, made when something is to be compiled.

A function that other compiled functions call is a part of them. Numba would optimise it and make machine code of it by itself,
then optimise it again in each caller, and in the callers of these; in a tower of calls that is most of the time. A part is
only translated to LLVM's language, and optimised once, in the library of what is called from outside.

numba 0.65: `core/codegen.py` (`CPUCodeLibrary`), `core/compiler.py` (`CompilerBase`), `core/typed_passes.py`
(`BaseNativeLowering`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numba
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from andes_engine.compile_cache import use_own_compile_cache

use_own_compile_cache()


class _PartLibrary(JITCodeLibrary):
    """Code that is not optimised and has no address: it is there to be linked into others."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    @property
    def codegen(self) -> Any:
        """Where numba wants to note the environment of the function, which only code that meets Python objects reads."""
        return _NoEnvironment

    def get_pointer_to_function(self, name: str) -> int:
        """Nothing of it can be called from outside: 0, as numba has it for a wrapper that was not asked for."""
        self._ensure_finalized()
        return 0


class _NoEnvironment:
    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        pass


class _PartCompiler(Compiler):
    def compile_extra(self, func: Callable[..., Any]) -> Any:
        codegen = self.state.targetctx.codegen()
        self.state.library = _PartLibrary(codegen, func.__qualname__)
        return super().compile_extra(func)


def for_python(function: Callable[..., Any], kept: bool, options: Mapping[str, Any]) -> Any:
    """A function to be called from Python."""
    return numba.njit(cache=kept, **options)(function)


def part(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """A function to be called from compiled code."""
    bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler}
    return numba.njit(**options, **bare)(function)


def type_of(dispatcher: Any) -> Any:
    """What numba's type inference takes it for."""
    return types.Dispatcher(dispatcher)
