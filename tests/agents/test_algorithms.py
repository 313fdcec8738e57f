"""Every algorithm of the group `agent`: starts at the reference, is kept, goes on, is exported, and can be repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.save_util import load_from_zip_file

from agents.algorithms import ALGORITHMS, build_model
from agents.build import env_config
from agents.failure import TrainingError
from agents.kept import restore_model
from agents.population import act_all, unstacked
from agents.sb3_vec import Sb3VecEnv, make_vec_env
from agents.schema import ConfigError
from agents.train import TrainResult, train
from andes_engine.errors import UnknownNameError
from andes_engine.observation import FEATURES, OBSERVATION_SIZE
from andes_engine.policy.bundle import load_bundle
from envs import SimVectorEnv
from tests.agents.conftest import TrainFor, debug_config

pytestmark = pytest.mark.xdist_group("algorithms")  # one worker, so that each run below is made once

SMALL = {
    "ppo": ("agent=ppo_small",),
    "recurrent_ppo": ("agent=recurrent_ppo", "agent.lstm=8", "agent.n_steps=32", "agent.n_epochs=2"),
    "sac": ("agent=sac", "agent.learning_starts=64", "agent.batch_size=32", "agent.hidden=[8]"),
    "tqc": ("agent=tqc", "agent.learning_starts=64", "agent.batch_size=32", "agent.hidden=[8]"),
    "ars": ("agent=ars", "agent.n_delta=2", "agent.n_top=1"),
    "cma_es": ("agent=cma_es", "agent.population=4"),
}
LIMITS = ("train.steps=192", "train.eval_every=96", "workload.duration_s=4")
NAMES = tuple(SMALL)


@pytest.fixture(scope="module", params=NAMES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TrainResult]:
    name = request.param
    return name, train(debug_config(tmp_path_factory.mktemp(name) / "run", *SMALL[name], *LIMITS))


def config_of(name: str, folder: Path, *more: str) -> Any:
    return debug_config(folder, *SMALL[name], *LIMITS, *more)


def loaded(name: str, run: Path, folder: Path) -> Any:
    """The model of a run's last checkpoint."""
    config = config_of(name, folder)
    model = build_model(config.agent, make_vec_env(config, env_config(config)), 0)
    restore_model(model, run / "checkpoints" / "last" / "model.zip")
    return model


def test_every_algorithm_is_tried() -> None:
    assert set(NAMES) == set(ALGORITHMS)


def test_it_starts_exactly_at_the_reference(finished: tuple[str, TrainResult]) -> None:
    _, result = finished
    first = json.loads((result.run_dir / "results.json").read_text())["curve"][0]
    assert (first["steps"], first["gain"]) == (0, 0.0) and first["qoe"] == result.references["andes"]


def test_it_learns_something_and_its_bundle_acts_as_the_model(
    finished: tuple[str, TrainResult], tmp_path: Path
) -> None:
    name, result = finished
    model, act = loaded(name, result.run_dir, tmp_path), load_bundle(result.run_dir / "checkpoints/last/bundle").actor()
    state, largest = None, 0.0
    for seen in np.random.default_rng(0).uniform(-3, 3, (40, OBSERVATION_SIZE)).astype(np.float32):
        expected, state = model.predict(seen, state=state, deterministic=True)
        assert np.abs(act(seen) - expected).max() < 1e-5
        largest = max(largest, float(np.abs(expected).max()))
    assert largest > 1e-4  # no longer the reference


def test_it_goes_on_with_nothing_lost(finished: tuple[str, TrainResult], tmp_path: Path) -> None:
    name, result = finished
    more = train(config_of(name, tmp_path / "more", f"train.resume={result.run_dir}", "train.steps=320"))
    curves = [json.loads((run.run_dir / "results.json").read_text())["curve"] for run in (result, more)]
    assert more.steps >= 320 and curves[1][: len(curves[0])] == curves[0]
    at = len(curves[0])  # judged again before it goes on: the same policy
    assert (curves[1][at]["steps"], curves[1][at]["qoe"]) == (result.steps, curves[0][-1]["qoe"])


def test_what_else_was_learned_comes_back(finished: tuple[str, TrainResult], tmp_path: Path) -> None:
    name, result = finished
    model = loaded(name, result.run_dir, tmp_path)
    data, parameters, variables = load_from_zip_file(result.run_dir / "checkpoints/last/model.zip", device="cpu")
    assert model._n_updates == data["_n_updates"] > 0
    for part, state in parameters.items():
        if part == "policy":
            assert all(torch.equal(model.policy.state_dict()[key], value) for key, value in state.items())
    if name in ("sac", "tqc"):
        assert torch.equal(model.log_ent_coef, variables["log_ent_coef"])
    if name == "cma_es":
        assert model.search.generation == model._n_updates
        assert np.array_equal(model.weights.numpy(), model.search.mean.astype(np.float32))


def test_another_algorithm_cannot_take_over(finished: tuple[str, TrainResult], tmp_path: Path) -> None:
    name, result = finished
    other = "sac" if name != "sac" else "ppo"
    with pytest.raises(ConfigError, match=f"it was trained by {name}, not {other}; give agent={name}"):
        train(config_of(other, tmp_path / "run", f"train.resume={result.run_dir}"))


def test_the_same_seed_gives_the_same_policy(finished: tuple[str, TrainResult], tmp_path: Path) -> None:
    name, result = finished
    again = train(config_of(name, tmp_path / "again"))
    first, second = (load_bundle(run.run_dir / "checkpoints/last/bundle").tensors() for run in (result, again))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    other = train(config_of(name, tmp_path / "other", "seed=1"))
    third = load_bundle(other.run_dir / "checkpoints/last/bundle").tensors()
    assert not all(np.array_equal(first[key], third[key]) for key in first)


def test_a_search_goes_on_from_a_policy_with_one_more_knob(tmp_path: Path) -> None:
    actions = {
        part: f"env.action=[{part}]" for part in ("prefill_backlog_s,index_ahead", "index_ahead,preemption_gate")
    }
    first, second = actions.values()
    begun = train(config_of("cma_es", tmp_path / "begun", first, "agent.sigma=0.5"))
    onward = (f"agent.start={begun.bundle}", "agent.knobs=[preemption_gate]", "agent.inputs=[oldest_age]")
    more = train(config_of("cma_es", tmp_path / "more", second, *onward, "agent.sigma=0.5"))
    (weight, bias), (later, later_bias) = (load_bundle(run.bundle).layers[0] for run in (begun, more))
    assert np.abs(weight[1]).max() > 0.0 and np.array_equal(weight[1], later[0]) and bias[1] == later_bias[0]
    last = load_bundle(more.run_dir / "checkpoints/last/bundle").layers[0][0][1]
    seen = [feature.name == "oldest_age" for feature in FEATURES]
    assert np.all(last[seen] != 0.0) and not last[~np.array(seen)].any()
    half = train(config_of("cma_es", tmp_path / "half", second, *onward, "agent.sigma=0.5", "train.steps=64"))
    rest = train(
        config_of("cma_es", tmp_path / "rest", second, *onward, "agent.sigma=0.5", f"train.resume={half.run_dir}")
    )
    assert np.array_equal(load_bundle(rest.bundle).layers[0][0][0], weight[1])


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ("agent.start=zoo/impatient", UnknownNameError, "zoo"),
        ("agent.start=zoo/patient", ConfigError, "around another reference .* experiment=patient"),
        ("agent.knobs=[horizon_s]", UnknownNameError, "knob of env.action"),
        ("agent.hidden=[4]", ConfigError, "are for linear policies"),
    ],
)
def test_what_a_search_cannot_start_from_is_refused(
    wrong: str, error: type[Exception], told: str, tmp_path: Path
) -> None:
    given = ("env.action=[index_ahead]", "agent.knobs=[index_ahead]")
    with pytest.raises(error, match=told):
        train(config_of("cma_es", tmp_path / "run", *given, wrong))


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_the_past_comes_back(name: str, tmp_path: Path) -> None:
    short = ("agent.buffer_size=128",)  # full, and written over
    result = train(config_of(name, tmp_path / "run", *short))
    with np.load(result.run_dir / "checkpoints/last/replay.npz") as kept:
        assert len(kept["rewards"]) == 64 and kept["place"].tolist() == [32, 1]  # 192 decisions of 2 environments
    assert not (result.run_dir / "checkpoints/best/replay.npz").exists()
    with pytest.raises(ConfigError, match=r"replay buffer holds .* keep agent.buffer_size"):
        train(config_of(name, tmp_path / "smaller", "agent.buffer_size=64", f"train.resume={result.run_dir}"))


@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_exploration_starts_around_the_reference(name: str, tmp_path: Path) -> None:
    """The library's own first decisions are even over [-1, 1], whose standard deviation is .58."""
    given = config_of(name, tmp_path, "agent.log_std=-3", "agent.learning_starts=100")
    model: Any = build_model(given.agent, make_vec_env(given, env_config(given)), 0)
    model.learn(64)
    actions = model.replay_buffer.actions[: model.replay_buffer.pos]
    assert len(actions) == 32 and np.std(actions) == pytest.approx(np.exp(-3), rel=0.2)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    """CMA-ES keeps its distribution and draws by the number of the generation, so the two halves are the whole to the bit."""
    judged = "train.eval_every=1"  # after each generation
    whole = train(config_of("cma_es", tmp_path / "whole", judged))
    half = train(config_of("cma_es", tmp_path / "half", judged, "train.steps=64"))
    rest = train(config_of("cma_es", tmp_path / "rest", judged, f"train.resume={half.run_dir}"))
    assert 0 < half.steps < whole.steps == rest.steps
    one, two = (load_bundle(run.run_dir / "checkpoints/last/bundle").tensors() for run in (whole, rest))
    assert all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("hidden", [[], [6]])
def test_candidates_act_side_by_side_as_they_would_alone(hidden: list[int], tmp_path: Path) -> None:
    config = config_of("ars", tmp_path, f"agent.hidden={hidden}")
    model: Any = build_model(config.agent, make_vec_env(config, env_config(config)), 0)
    rng = np.random.default_rng(0)
    candidates = torch.from_numpy(rng.normal(size=(5, model.n_params))).float()
    seen = rng.uniform(-1, 1, (5, OBSERVATION_SIZE)).astype(np.float32)
    together = act_all(unstacked(candidates, model.policy), seen)
    for number, weights in enumerate(candidates):
        model.policy.load_from_vector(weights)
        assert np.allclose(together[number], model.predict(seen[number])[0], atol=1e-5)


def test_all_candidates_see_the_same_episodes(tmp_path: Path) -> None:
    config = config_of("ars", tmp_path)
    env = Sb3VecEnv(SimVectorEnv(env_config(config), 3))
    env.reset_alike(7)
    totals = np.zeros(3)
    for _ in range(30):
        _, rewards, _, _ = env.step(np.zeros((3, env.action_space.shape[0]), dtype=np.float32))
        totals += rewards
    assert totals[0] != 0.0 and totals.tolist() == [totals[0]] * 3


@pytest.mark.parametrize("name", NAMES)
def test_time_ends_training_wherever_it_is(name: str, tmp_path: Path) -> None:
    result = train(config_of(name, tmp_path / "run", "train.steps=100_000_000", "train.minutes=0.01"))
    assert result.steps < 100_000_000 and not result.interrupted and load_bundle(result.bundle)


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_ends_in_one_message_and_the_run_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = SimVectorEnv.step, iter(range(10**9))

    def nan_later(self: SimVectorEnv, actions: Any) -> Any:
        observations, rewards, *rest = step(self, actions)
        return observations, rewards * (np.nan if next(calls) > 70 else 1.0), *rest

    with monkeypatch.context() as patch:
        patch.setattr(SimVectorEnv, "step", nan_later)
        with pytest.raises(
            TrainingError, match=r"diverged: .* NaN .*kept up to decision \d+, go on with: .*train\.resume"
        ):
            train(config_of(name, tmp_path / "run", "train.steps=4096"))
    assert "\n" not in str(TrainingError) and load_bundle(tmp_path / "run/checkpoints/last/bundle")
    more = train(config_of(name, tmp_path / "more", f"train.resume={tmp_path / 'run'}", "train.steps=256"))
    assert more.steps >= 256


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("sac", "agent.buffer_size=8", "must hold a batch of 32"),
        ("tqc", "agent.top_quantiles_to_drop_per_net=25", "n_quantiles > top_quantiles_to_drop_per_net"),
        ("ars", "agent.n_top=9", "1 <= n_top <= n_delta"),
        ("cma_es", "agent.sigma=0", "sigma > 0"),
        ("ppo", "agent.hidden=[0]", "layers of at least 1 unit"),
        ("recurrent_ppo", "agent.lstm=0", "lstm >= 1"),
    ],
)
def test_wrong_settings_are_refused(name: str, wrong: str, told: str, train_config: TrainFor) -> None:
    with pytest.raises(ConfigError, match=told):
        train(train_config(*SMALL[name], wrong))
