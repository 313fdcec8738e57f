"""What a helping process does (`helping`): compile functions, given as ``module:name``, that nobody else is compiling."""

from __future__ import annotations

import sys
from importlib import import_module

from andes_engine.native.function import NativeFunction


def main(names: list[str]) -> None:
    """Compile and keep them, in this order."""
    for name in names:
        module, _, attribute = name.partition(":")
        function = getattr(import_module(module), attribute)
        assert isinstance(function, NativeFunction)
        function.compile_unless_claimed()


if __name__ == "__main__":
    main(sys.argv[1:])
