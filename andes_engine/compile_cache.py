"""Where compiled code is kept: one folder per state of the sources.

Numba's own cache looks at the file of a function but not at the files of the functions it calls, so an edit in one module
would leave stale machine code in another. Keying the folder by a hash of the compiled sources rules that out, and works in
read-only installs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from andes_engine.compiled_function import CompiledFunction

_CONSTANTS = (
    *("knobs.py", "counters.py", "engine.py", "plan_memory.py", "schedulers/__init__.py"),
    *("compiled_function.py", "native/entry.py", "native/parts.py"),
)
"""Modules without compiled code whose values or types are compiled into others, or that say how code is compiled."""


def use_own_compile_cache() -> None:
    """Point numba's cache at this version's folder."""
    import numba  # not where nothing is compiled

    numba.config.CACHE_DIR = str(cache_folder())


@cache
def cache_folder() -> Path:
    """Where compiled code is kept: this version's folder, or `NUMBA_CACHE_DIR` where the user has set it."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "andes-rl" / f"numba-{numba_version()}-{_source_hash()}"


@cache
def numba_version() -> str:
    """Version of numba, without importing it."""
    return version("numba")


@cache
def object_folder() -> Path:
    """Where `andes_engine.native` keeps object code for this kind of processor; beside numba's own cache."""
    made_for = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    made_by = f"llvmlite {llvmlite.__version__} numba {numba_version()}"
    digest = hashlib.sha256(" ".join((*made_for, made_by)).encode()).hexdigest()[:12]
    return cache_folder() / f"native-{_source_hash()}-{digest}"


@cache
def _source_hash() -> str:
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        name, text = source.relative_to(package).as_posix(), source.read_bytes()
        if b"@compiled" in text or b"@native" in text or name in _CONSTANTS:
            digest.update(name.encode() + text)
    return digest.hexdigest()[:12]


_keep = True


def keep_nothing() -> None:
    """Compile anew in this process, reading no cache: numba keeps its cache as pickles, and a server loads none.

    What has been called before is not changed; native functions are kept as object code and loaded all the same.
    """
    global _keep
    _keep = False


def _kept() -> bool:
    return _keep


def compiled(function: Callable[..., object]) -> CompiledFunction:
    """Compile a function with numba: no Python objects inside, the lock released, kept on disk unless `keep_nothing`.

    It works on arrays it is given and makes none: without allocations numba need not count references, which in a loop over
    requests costs more than the work itself (`_nrt`, numba 0.65, `core/options.py`). Views are fine.
    """
    return CompiledFunction(function, False, False, _kept)


def compiled_into_caller(function: Callable[..., object]) -> CompiledFunction:
    """Like `compiled`, but compiled as a part of each caller instead of by itself: for large functions with one caller."""
    return CompiledFunction(function, False, True, _kept)


def compiled_for_many(function: Callable[..., object]) -> CompiledFunction:
    """Like `compiled`, for loops over arrays that the processor can go through several elements at a time.

    Dividing by zero gives inf or NaN there instead of an error: the check after each division would keep LLVM from it.
    """
    return CompiledFunction(function, False, False, _kept, error_model="numpy")


def compiled_allocating(function: Callable[..., object]) -> CompiledFunction:
    """The same for a function that makes arrays, or calls one that hands back arrays."""
    return CompiledFunction(function, True, False, _kept)  # told, or it would be inherited from the caller
