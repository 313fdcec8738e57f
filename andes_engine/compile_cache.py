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
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba

_CONSTANTS = ("knobs.py", "counters.py", "engine.py", "plan_memory.py", "schedulers/__init__.py", "native/entry.py")
"""Modules without compiled code whose values or types are compiled into others."""


def use_own_compile_cache() -> Path | None:
    """Point numba's cache at this version's folder; leaves a `NUMBA_CACHE_DIR` set by the user alone."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "andes-rl" / f"numba-{numba.__version__}-{_source_hash()}"
    numba.config.CACHE_DIR = str(folder)
    return folder


@cache
def object_folder() -> Path:
    """Where `andes_engine.native` keeps object code for this kind of processor; beside numba's own cache."""
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()} llvmlite {llvmlite.__version__}"
    digest = hashlib.sha256(processor.encode()).hexdigest()[:12]
    return Path(numba.config.CACHE_DIR) / f"native-{_source_hash()}-{digest}"


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

    Only functions defined after this call; call it before importing what they are in.
    """
    global _keep
    _keep = False


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function with numba: no Python objects inside, the lock released, kept on disk unless `keep_nothing`.

    It works on arrays it is given and makes none: without allocations numba need not count references, which in a loop over
    requests costs more than the work itself (`_nrt`, numba 0.65, `core/options.py`). Views are fine.
    """
    return numba.njit(cache=_keep, nogil=True, _nrt=False)(function)


def compiled_into_caller(function: Callable[..., Any]) -> Any:
    """Like `compiled`, but compiled as a part of each caller instead of by itself.

    For large functions with one caller: LLVM works through everything a function calls again for each level of calls, so a tall
    tower of them takes minutes to compile.
    """
    return numba.njit(cache=_keep, nogil=True, _nrt=False, inline="always")(function)


def compiled_for_many(function: Callable[..., Any]) -> Any:
    """Like `compiled`, for loops over arrays that the processor can go through several elements at a time.

    Dividing by zero gives inf or NaN there instead of an error: the check after each division would keep LLVM from it.
    """
    return numba.njit(cache=_keep, nogil=True, _nrt=False, error_model="numpy")(function)


def compiled_allocating(function: Callable[..., Any]) -> Any:
    """The same for a function that makes arrays, or calls one that hands back arrays."""
    return numba.njit(cache=_keep, nogil=True, _nrt=True)(function)  # named, or it would be inherited from the caller
