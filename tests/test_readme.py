"""What the README tells a reader to type works. Running each step for real is in tests/scripts and tests/live."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.update_readme import PICTURES
from tests.client.scripted_server import Background, ScriptedServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = re.findall(r"python -m (scripts\.\w+)([^\n`]*)", README)


@pytest.mark.parametrize(("module", "arguments"), COMMANDS, ids=[" ".join(pair) for pair in COMMANDS])
def test_every_script_call_is_a_valid_configuration(module: str, arguments: str) -> None:
    if module in ("scripts.update_readme", "scripts.replay_trace"):
        return  # no Hydra; run in tests/scripts/test_demo.py and tests/engine/test_decision_trace.py
    given = shlex.split(arguments, comments=True)
    if "-m" in given:  # of a sweep, the first job
        given = [re.sub(r"=(\w+)(,\w+)+$", r"=\1", part) for part in given if part != "-m"]
    command = [sys.executable, "-m", module, *given, "--cfg", "job"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 3


def test_the_readme_names_the_four_steps() -> None:
    assert {module for module, _ in COMMANDS} >= {f"scripts.{name}" for name in ("train", "compare", "export", "serve")}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_examples_run(block: str) -> None:
    if "import openai" in block:
        pytest.importorskip("openai", reason="comes with vLLM: pip install 'andes-rl[cpu]'")
    with Background(ScriptedServer()) as server:
        told = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"}
        command = [sys.executable, "-c", block]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, timeout=300, check=False
        )
    assert done.returncode == 0, done.stderr


def test_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z][a-z-]+)", README)):
        assert f"\n{target}:" in makefile, target
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    assert all((ROOT / "docs" / name).is_file() for name in PICTURES)
