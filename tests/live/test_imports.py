"""What a serving process imports, and what happens where vLLM is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.test_policy import make_bundle
from tests.live.stubs import INSTALLED

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


@pytest.mark.slow
def test_everything_else_works_without_vllm(tmp_path: Path) -> None:
    code = f"""
import sys
from hydra import compose, initialize_config_module
from agents.config import CompareConfig, TrainConfig
from agents.schema import from_mapping
from omegaconf import OmegaConf
def made(kind, name, where, *overrides):
    with initialize_config_module("conf", version_base="1.3"):
        config = OmegaConf.to_container(compose(name, [*overrides, f"run_dir={{where}}"]), resolve=True)
    return from_mapping(kind, config)
if __name__ == "__main__":
    from agents.compare import compare
    from agents.train import train
    small = ["engine=cpu_tiny", "workload=tiny", "workload.duration_s=4"]
    run = train(made(TrainConfig, "train", {str(tmp_path / "t")!r}, "experiment=debug", "tracking=none", "train.steps=64"))
    more = ["loads=[1.2]", "seeds=1", "workers=1", f"policy={{run.bundle}}"]
    result = compare(made(CompareConfig, "compare", {str(tmp_path / "c")!r}, *small, *more))
    assert result.report.is_file() and "vllm" not in sys.modules
    import gymnasium, envs
    try:
        gymnasium.make(envs.LIVE_ID).reset(seed=0)
    except ImportError as error:
        assert "andes-rl[cpu]" in str(error), error
    else:
        raise AssertionError("the live environment started without vLLM")
"""
    done = run(BLOCK_VLLM + code)
    assert done.returncode == 0, done.stderr


def test_unknown_name_says_what_there_is() -> None:
    import andes_engine.vllm

    with pytest.raises(AttributeError, match="it offers AndesScheduler"):
        andes_engine.vllm.AndesSchedular  # noqa: B018


@INSTALLED
def test_serving_process_imports_nothing_of_training() -> None:
    code = """
import sys, andes_engine.vllm.scheduler, andes_engine.planner
found = {"gymnasium", "stable_baselines3", "wandb", "hydra", "envs", "agents"} & set(sys.modules)
assert not found, found
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@INSTALLED
def test_serving_process_unpickles_nothing(tmp_path: Path) -> None:
    """Planner, policy, service and compiled code of a fresh engine-core process, from import to an exchange of the policy."""
    bundle = make_bundle().save(tmp_path / "bundle")
    code = f"""
import os, sys, types
from andes_engine.vllm import scheduler
from andes_engine.vllm.contract import EngineShape, WaitingView
events = []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith("pickle.") else None)
scheduler.adapter.engine_shape = lambda _: EngineShape(32, 100, 64, 512, 2048)
trace = {{"path": {str(tmp_path / "trace.jsonl")!r}}}
section = {{"policy": {str(bundle)!r}, "policy_poll_s": 0.01, "trace": trace, "log": "json"}}
config = types.SimpleNamespace(additional_config={{"andes": section}})
planner = scheduler.planner_from_config(config, None)
from andes_engine.service.service import start_service
from andes_engine.vllm.planning_counters import PlanningCounters
service = start_service(planner, section, "m", 0)
for name in range(99):
    planner.add(str(name), 0.0, 200, None)
plan = planner.plan(1.0, [], [WaitingView(str(name), True) for name in range(99)], 100)
assert plan.admit, plan
assert planner.knob_source.decisions == 1 and planner.knob_source.fallbacks.keys() <= {{"over budget"}}
service.after_step(1.0, PlanningCounters(), False)
os.utime({str(bundle / "bundle.json")!r})
while service._watch._ready is None:
    pass
service.before_step()
service.close()
assert planner.knob_source.decisions == 0 and service._trace.written == 1 and service.failures == 0
assert events == [], events
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
