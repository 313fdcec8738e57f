"""How long a fresh process takes to its first simulated iteration: with compiled code kept, and with none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from andes_engine.cores import available_cores
from andes_engine.errors import AndesError
from benchmarks.lines import Goal, Line, Sample

START = "Start"
ROOT = Path(__file__).parents[1]
TIMEOUT_S = 1800

FIRST_ADVANCE = """
import time; wall, cpu = time.perf_counter(), time.process_time()
import json
from andes_engine.sim.warm_up import warm_up
imported = time.perf_counter() - wall
warm_up()
print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "import_s": imported}))
"""
"""Import, a simulator, a first workload run to its end under Andes, an observation and a record."""

COMPILED_AT_IMPORT = """
import importlib, json, pkgutil, sys
import andes_engine
for module in pkgutil.walk_packages(andes_engine.__path__, "andes_engine."):
    if ".vllm" not in module.name:
        importlib.import_module(module.name)
from andes_engine.compiled_function import CompiledFunction
found = {id(value): value for name, module in list(sys.modules.items()) if name.startswith("andes_engine")
         for value in vars(module).values() if isinstance(value, CompiledFunction)}
print(json.dumps({"functions": len(found), "compiled": sum(len(value.signatures) for value in found.values())}))
"""


def start_lines() -> list[Line]:
    """Seconds to the first result, and what importing compiles."""
    return [
        Line(START, "cached: import, simulator, first run", "s", _cached, Goal(1.0, at_least=False)),
        Line(START, "functions compiled by importing every module", "signatures", _at_import, Goal(0.0, False), 1),
    ]


def cold_lines() -> list[Line]:
    """Seconds to the first result when everything has to be compiled."""
    title = f"cold: the same with nothing compiled, {available_cores()} cores"
    return [Line(START, title, "s", _cold, Goal(60.0, at_least=False), repeats=2)]


def _cached() -> Sample:
    return _sample(in_fresh_process(FIRST_ADVANCE))


def _cold() -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        told = in_fresh_process(FIRST_ADVANCE, {"NUMBA_CACHE_DIR": folder})
    return Sample(told["wall_s"], {"import, s": told["import_s"], "processor of the process itself, s": told["cpu_s"]})


def _sample(told: dict[str, float]) -> Sample:
    facts = {"import, s": told["import_s"], "processor, s": told["cpu_s"], "core share": told["cpu_s"] / told["wall_s"]}
    return Sample(told["wall_s"], facts)


def _at_import() -> Sample:
    told = in_fresh_process(COMPILED_AT_IMPORT)
    return Sample(told["compiled"], {"compilable functions": told["functions"]})


def in_fresh_process(program: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run a program whose last line is JSON.

    Raises:
        AndesError: If it fails; the message has its last lines.
    """
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        raise AndesError("a fresh process failed: " + " / ".join(done.stderr.strip().splitlines()[-3:]))
    told: dict[str, float] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return told
