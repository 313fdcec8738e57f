"""A start with code that is kept: nothing imports numba, and numba works all the same when somebody needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from andes_engine.compile_cache import (
    cache_folder,
    compiled,
    compiled_into_caller,
    numba_version,
    use_own_compile_cache,
)
from andes_engine.decision_buffers import blocks_for
from andes_engine.sim.warm_up import warm_up

ROOT = Path(__file__).parents[2]

NO_NUMBA = """
import sys
from andes_engine.sim.warm_up import warm_up
warm_up()
found = [name for name in sys.modules if name.partition(".")[0] in ("numba", "scipy")]
assert not found, found
"""

HELPERS_FIRST = """
import sys
from andes_engine.native.helpers import helpers, name_helpers
alone = helpers()
name_helpers()
assert not any(name.startswith("numba") for name in sys.modules)
import numba, numpy as np, llvmlite.binding as llvm
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
rtsys.initialize(cpu_target.target_context)
wrong = {name for name, address in alone.items() if llvm.address_of_symbol(name) != address}
assert not wrong and helpers() == alone, wrong
assert numba.njit(lambda n: np.arange(n)[::2].copy().sum())(10) == 20  # which needs memory, and gives it back
"""


@pytest.mark.parametrize("program", [NO_NUMBA, HELPERS_FIRST], ids=["no numba", "helpers first"])
def test_fresh_process(program: str) -> None:
    warm_up()  # so that all code is kept
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def _wide(tokens: int) -> int:
    return blocks_for(tokens, 16) + 1


def test_a_function_is_called_from_python_and_from_numba() -> None:
    inner, inlined = compiled(_wide), compiled_into_caller(_wide)

    @numba.njit
    def both(tokens: int) -> int:
        return 10 * inner(tokens) + inlined(tokens)  # type: ignore[no-any-return]

    assert not inner.signatures
    assert both(33) == 10 * 4 + 4 == 10 * inner(33) + inlined.py_func(33)
    assert len(inner.signatures) == 2  # one as a part, one for Python
    assert inner.__name__ == "_wide" and inner.__doc__ == _wide.__doc__


def test_numba_keeps_its_code_where_ours_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert numba_version() == numba.__version__
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    use_own_compile_cache()
    assert cache_folder() == Path(numba.config.CACHE_DIR)
    assert cache_folder().parent.name == "andes-rl" or os.environ["NUMBA_CACHE_DIR"] == str(cache_folder())
