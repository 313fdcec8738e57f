from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.save_util import load_from_zip_file

from agents.algorithms import build_model
from agents.build import env_config, validation_scenarios
from agents.evaluate import evaluate
from agents.failure import TrainingError
from agents.learner import check_weights
from agents.run_dir import RunDir
from agents.sb3_vec import make_vec_env
from agents.schema import ConfigError
from agents.tracking import NoTracker
from agents.train import Training, TrainResult, train
from andes_engine.contender import Contender
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle, load_bundle
from tests.agents import wandb_file
from tests.agents.conftest import TrainFor, debug_config

pytestmark = pytest.mark.xdist_group("train")  # one worker, so that the run below is made once


def weights(bundle: Bundle) -> list[np.ndarray]:
    return [array for layer in bundle.layers for array in layer]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """One short run with offline tracking."""
    folder = tmp_path_factory.mktemp("train") / "first"
    return train(debug_config(folder, "tracking=wandb", "train.steps=1024", "train.eval_every=512"))


def test_a_run_directory_says_how_it_was_made_and_what_came_out(finished: TrainResult) -> None:
    run = RunDir.open(finished.run_dir)
    assert run.config()["train"]["steps"] == 1024 and run.config()["engine"]["name"] == "cpu_tiny"
    made = json.loads((run.path / "versions.json").read_text())
    assert made["seed"] == 0 and "commit" in made and made["packages"]["stable-baselines3"].startswith("2.9")
    results = json.loads((run.path / "results.json").read_text())
    assert results["steps"] == 1024 and results["interrupted"] is False
    assert [point["steps"] for point in results["curve"]] == [0, 512, 1024]
    assert (run.path / "learning_curve.svg").stat().st_size > 1000
    assert finished.lines()[0].startswith("trained after 1024 decisions")


def test_training_starts_exactly_at_the_reference(finished: TrainResult) -> None:
    first = json.loads((finished.run_dir / "results.json").read_text())["curve"][0]
    assert first["gain"] == 0.0 and first["qoe"] == finished.references["andes"]
    assert finished.best.qoe >= first["qoe"]


def test_the_bundle_is_the_best_policy_with_its_provenance(finished: TrainResult) -> None:
    bundle = load_bundle(finished.bundle)
    assert bundle.provenance["steps"] == finished.best.steps and bundle.provenance["seed"] == 0
    assert "cpu_tiny" in bundle.model_card and "held-out" in bundle.model_card
    config = debug_config(finished.run_dir)
    learned = evaluate(
        config.engine,
        validation_scenarios(config, env_config(config), config.engine),
        [Contender("learned", bundle=bundle)],
    )
    assert np.mean([entry.record.qoe.mean() for entry in learned]) == pytest.approx(finished.best.qoe, abs=1e-12)


def test_offline_tracking_can_be_read_back(finished: TrainResult) -> None:
    told = wandb_file.config(finished.run_dir)
    assert told["train"]["steps"] == 1024 and told["engine"]["name"] == "cpu_tiny" and told["seed"] == 0
    rows = wandb_file.history(finished.run_dir)
    steps = [row["env_steps"] for row in rows]
    assert steps == sorted(steps) and max(steps) == 1024
    names = {name for row in rows for name in row}
    assert {"validation/qoe", "validation/gain", "episode/episode_qoe", "reward/qoe", "train/approx_kl"} <= names
    curve = [row["validation/qoe"] for row in rows if "validation/qoe" in row]
    assert max(curve) == pytest.approx(finished.best.qoe)
    assert [artifact.name for artifact in wandb_file.artifacts(finished.run_dir)] == ["learned-bundle"]


def test_tracking_leaves_nothing_behind(finished: TrainResult) -> None:
    assert "WANDB_CACHE_DIR" not in os.environ
    me = Path("/proc/self/task")
    if me.is_dir():
        children = " ".join(entry.read_text() for entry in me.glob("*/children")).split()
        names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
        assert not [name for name in names if "wandb" in name or "gpu_stats" in name]


def test_the_same_seed_gives_the_same_weights(train_config: TrainFor) -> None:
    bundles = [load_bundle(train(train_config("train.steps=128", name=name)).bundle) for name in ("a", "b")]
    states = [_last_policy(train_config(name=name).run_dir) for name in ("a", "b")]
    assert all(np.array_equal(*pair) for pair in zip(*map(weights, bundles), strict=True))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    other = train(train_config("train.steps=128", "seed=1", name="c"))
    changed = _last_policy(str(other.run_dir))
    assert not all(torch.equal(states[0][key], changed[key]) for key in states[0])


def test_training_goes_on_from_a_checkpoint(finished: TrainResult, train_config: TrainFor) -> None:
    more = train(train_config(f"train.resume={finished.run_dir}", "train.steps=1152", "train.eval_every=512"))
    curve = json.loads((more.run_dir / "results.json").read_text())["curve"]
    assert more.steps == 1152 and [point["steps"] for point in curve] == [0, 512, 1024, 1024, 1152]
    assert curve[2]["qoe"] == curve[3]["qoe"]
    assert more.best.qoe >= finished.best.qoe
    assert not all(map(np.array_equal, *(_last_policy(str(run.run_dir)).values() for run in (finished, more))))


def test_a_curve_judged_on_other_workloads_is_not_continued(finished: TrainResult, train_config: TrainFor) -> None:
    more = train(train_config(f"train.resume={finished.run_dir}", "train.steps=1024", "train.eval_loads=[0.9]"))
    curve = json.loads((more.run_dir / "results.json").read_text())["curve"]
    assert [point["steps"] for point in curve] == [1024] and more.best.steps == 1024


def test_resuming_another_network_is_refused(finished: TrainResult, train_config: TrainFor) -> None:
    with pytest.raises(ConfigError, match="network differs"):
        train(train_config(f"train.resume={finished.run_dir}", "agent.hidden=[16]"))
    with pytest.raises(ConfigError, match="its actions move"):
        train(train_config(f"train.resume={finished.run_dir}", "env.action=[horizon_s]", name="third"))
    with pytest.raises(ConfigError, match="no run directory"):
        train(train_config("train.resume=nowhere", name="other"))


def test_a_used_run_directory_is_refused(finished: TrainResult) -> None:
    with pytest.raises(ConfigError, match="holds a run already"):
        train(debug_config(finished.run_dir))


def test_a_time_budget_ends_training(train_config: TrainFor) -> None:
    result = train(train_config("train.steps=100_000_000", "train.minutes=0.02"))
    assert result.steps < 100_000_000 and not result.interrupted and result.bundle.is_dir()


def test_a_stopped_run_keeps_what_it_has(train_config: TrainFor, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Training.judge

    def judge_then_stop(self: Training, steps: int) -> dict[str, float]:
        if steps >= 64:
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(self, steps)

    monkeypatch.setattr(Training, "judge", judge_then_stop)
    result = train(train_config("train.steps=100_000", "train.eval_every=64"))
    assert result.interrupted and result.steps == 64
    assert "train.resume" in result.lines()[-1]
    assert (result.run_dir / "checkpoints" / "last" / "model.zip").is_file() and load_bundle(result.bundle)


def test_divergence_is_told(train_config: TrainFor) -> None:
    config = train_config(
        "train.steps=4096", "agent.learning_rate=1e30", "agent.max_grad_norm=1e30", "agent.target_kl=null"
    )
    with pytest.raises(TrainingError, match=r"diverged.*lower agent.learning_rate"):
        train(config)
    layer = torch.nn.Linear(2, 2)
    check_weights(layer, 0)
    with torch.no_grad():
        layer.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="'bias' holds NaN or infinity after 7 decisions"):
        check_weights(layer, 7)


def test_the_first_action_is_zero_everywhere(train_config: TrainFor) -> None:
    config = train_config()
    model = build_model(config.agent, make_vec_env(config, env_config(config)), 0)
    seen = np.random.default_rng(0).uniform(-10, 10, (50, OBSERVATION_SIZE)).astype(np.float32)
    assert not model.predict(seen, deterministic=True)[0].any()


@pytest.mark.parametrize(
    "agent",
    [
        ("agent=ppo_small", "agent.learning_rate=0.01", "agent.batch_size=128", "agent.gamma=0.9"),
        ("agent=sac", "agent.learning_rate=0.003", "agent.gamma=0.9", "agent.hidden=[16]", "agent.learning_starts=256"),
        ("agent=cma_es", "agent.sigma=0.2", "agent.population=16"),
    ],
    ids=lambda agent: agent[0],
)
def test_learning_finds_the_better_direction(agent: tuple[str, ...], train_config: TrainFor) -> None:
    """The reference serves four requests at a time; more is plainly better, so the policy must learn to raise the cap."""
    config = train_config(
        "env.action=[batch_cap]",
        "+scheduler.knobs.batch_cap=4",
        "env.num_envs=8",
        "workload.duration_s=6",
        "env.load=[0.8, 0.9]",
        "train.eval_loads=[0.9]",
        *agent,
        "train.steps=8192",
        "train.eval_every=4096",
    )
    result = train(config)
    assert result.best.gain > 0.02
    action = load_bundle(result.bundle).act(np.zeros(OBSERVATION_SIZE, dtype=np.float32))
    assert action[0] > 0.2


def _last_policy(run_dir: str) -> dict[str, torch.Tensor]:
    return load_from_zip_file(Path(run_dir) / "checkpoints" / "last" / "model.zip")[1]["policy"]


def test_nothing_is_tracked_when_nothing_is_asked(finished: TrainResult) -> None:
    tracker = NoTracker()
    tracker.log(0, {"a": 1.0})
    tracker.close()
