"""Training a bundle on, on the live engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agents.actor import actor_of, put_actor
from agents.algorithms import build_model
from agents.fine_tune import FineTuneConfig
from agents.schema import ConfigError
from andes_engine.action import ActionSpec
from andes_engine.errors import BundleError
from andes_engine.policy.bundle import load_bundle
from envs import EnvConfig, SimVectorEnv
from tests.engine.test_policy import make_bundle
from tests.live.stubs import INSTALLED

ROOT = Path(__file__).parents[2]


def _model(action: ActionSpec, hidden: list[int]):
    from agents.sb3_vec import Sb3VecEnv

    return build_model({"hidden": hidden}, Sb3VecEnv(SimVectorEnv(num_envs=1, config=EnvConfig(action=action))), 0)


def test_a_bundles_weights_come_back_from_the_model_they_were_put_into() -> None:
    bundle = make_bundle()
    model = _model(bundle.action, [weight.shape[0] for weight, _ in bundle.layers[:-1]])
    put_actor(model.policy, bundle)
    for (weight, bias), (given, given_bias) in zip(actor_of(model.policy).layers, bundle.layers, strict=True):
        np.testing.assert_array_equal(weight, given)
        np.testing.assert_array_equal(bias, given_bias)


def test_weights_of_another_shape_are_refused() -> None:
    bundle = make_bundle()
    with pytest.raises(BundleError, match="not those of the bundle"):
        put_actor(_model(bundle.action, [5, 5, 5]).policy, bundle)


@pytest.mark.parametrize("wrong", [{"steps": 1}, {"bursts": 0}])
def test_what_cannot_work_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="steps >= 2 and bursts >= 1"):
        FineTuneConfig(0, "runs/nowhere", "bundle", {}, **wrong)


@pytest.mark.slow
@INSTALLED
def test_a_few_decisions_end_in_a_new_bundle_and_a_comparison(tmp_path: Path) -> None:
    before = make_bundle().save(tmp_path / "before")
    small = [
        "steps=4",
        "bursts=1",
        "agent.n_steps=2",
        "agent.batch_size=2",
        f"run_dir={tmp_path / 'ft'}",
        f"document={tmp_path / 'page.md'}",
    ]
    command = [sys.executable, "-m", "scripts.fine_tune", f"policy={before}", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    old, new = load_bundle(before), load_bundle(tmp_path / "ft" / "bundle")
    assert new.name == f"{old.name}_live" and new.provenance["fine_tuned_from"] == old.name
    assert any((weight != given).any() for (weight, _), (given, _) in zip(new.layers, old.layers, strict=True))
    results = json.loads((tmp_path / "ft" / "results.json").read_text())
    assert set(results["qoe_mean"][0]) == {old.name, new.name}
    page = (tmp_path / "page.md").read_text()
    assert f"; {new.name} " in page and f"{new.name} − {old.name} | QoE mean" in page
