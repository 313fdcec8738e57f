"""The C functions that numba's compiled code calls, made findable by name without importing numba.

They are in extension modules that stand alone; the package around them takes half a second to import. Names and addresses are
those of numba 0.65: `core/base.py` (`_load_global_helpers`), `core/runtime/nrt.py` (`_Runtime.initialize`).
"""

from __future__ import annotations

import builtins
import sys
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from andes_engine.errors import AndesError

_PREFIXES = {"numba._helperlib": "numba_", "numba.core.runtime._nrt_python": "NRT_"}


@cache
def name_helpers() -> None:
    """Tell LLVM where they are, once in a process.

    Raises:
        AndesError: If this numba keeps them elsewhere.
    """
    for name, address in helpers().items():
        llvm.add_symbol(name, address)


def helpers() -> dict[str, int]:
    """Addresses by the name that compiled code uses; an exception stands for itself there, not for where it is noted."""
    found = {"_Py_NoneStruct": id(None)}
    for kind in vars(builtins).values():
        if isinstance(kind, type) and issubclass(kind, BaseException):
            found[f"PyExc_{kind.__name__}"] = id(kind)
    for module, prefix in _PREFIXES.items():
        for name, address in _extension(module).c_helpers.items():
            found[name if prefix == "NRT_" and name.startswith("_") else prefix + name] = address
    return found


def _extension(name: str) -> Any:
    """An extension module of numba; by itself if numba has not been imported, and then not left where numba would find it."""
    if name in sys.modules:
        return sys.modules[name]
    package = find_spec("numba")
    if package is None or package.origin is None:
        raise AndesError("numba is not installed; install it, compiled code needs its helpers")
    path = Path(package.origin).parents[0].joinpath(*name.split(".")[1:])
    files = [file for suffix in EXTENSION_SUFFIXES if (file := path.with_name(path.name + suffix)).exists()]
    if not files:
        raise AndesError(f"numba has no extension module '{name}'; this package is made for numba 0.65")
    spec = spec_from_file_location(name, files[0], loader=ExtensionFileLoader(name, str(files[0])))
    assert spec is not None and spec.loader is not None  # a loader was given
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop(name, None)
    return module
