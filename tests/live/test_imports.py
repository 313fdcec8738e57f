"""What a serving process imports, and what happens where vLLM is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live.stubs import NEEDS_VLLM

BLOCK_VLLM = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == "vllm" or name.startswith("vllm."):
            raise ImportError("blocked " + name)
sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


def test_package_imports_without_vllm() -> None:
    done = run(
        BLOCK_VLLM
        + "import andes_engine.vllm, sys; assert 'torch' not in sys.modules; print(andes_engine.vllm.__all__)"
    )
    assert done.returncode == 0, done.stderr
    assert "AndesScheduler" in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "from andes_engine.vllm import AndesScheduler",
        "from andes_engine.vllm import LiveEngine, LiveConfig; LiveEngine(LiveConfig())",
        "from andes_engine.vllm import VirtualEngine, LiveConfig; VirtualEngine(LiveConfig(), lambda *_: 1.0)",
        "import sys; sys.argv = ['andes-vllm', 'serve']; from andes_engine.vllm.launcher import main; main()",
    ],
)
def test_missing_vllm_names_the_extras(code: str) -> None:
    done = run(BLOCK_VLLM + code)
    assert done.returncode == 1
    assert "andes-rl[cpu]" in done.stderr
    assert "andes-rl[gpu]" in done.stderr


def test_unknown_name_says_what_there_is() -> None:
    import andes_engine.vllm

    with pytest.raises(AttributeError, match="it offers AndesScheduler"):
        andes_engine.vllm.AndesSchedular  # noqa: B018


@pytest.mark.live
@NEEDS_VLLM[1]
def test_serving_process_imports_nothing_of_training() -> None:
    code = """
import sys, andes_engine.vllm.scheduler, andes_engine.planner
found = {"gymnasium", "stable_baselines3", "wandb", "hydra", "envs", "agents"} & set(sys.modules)
assert not found, found
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
