from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import conf
from agents.algorithms import agent_settings
from agents.build import env_config, spec_of, validation_scenarios
from agents.calibrate import CalibrateConfig
from agents.cli import compose
from agents.config import CompareConfig, ExportConfig, ServeConfig, TrainConfig
from agents.demo import DemoConfig
from agents.fidelity import FidelityConfig
from agents.fine_tune import FineTuneConfig
from agents.live_benefit import LiveBenefitConfig
from agents.replay import ReplayConfig
from agents.schema import ConfigError, from_mapping
from agents.service_benefit import ServiceBenefitConfig
from andes_engine.action import DEFAULT_ACTION_KNOBS, action_names
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.knobs import Knobs
from andes_engine.schedulers import SCHEDULERS

FOLDER = Path(conf.__file__).parent
NEEDED = {"export": ["run=r"], "serve": ["model=m"], "fine_tune": ["policy=p"], "replay": ["row=r"]}
CONFIGS = {
    "train": TrainConfig,
    "compare": CompareConfig,
    "export": ExportConfig,
    "serve": ServeConfig,
    "demo": DemoConfig,
    "fidelity": FidelityConfig,
    "fine_tune": FineTuneConfig,
    "live_benefit": LiveBenefitConfig,
    "calibrate": CalibrateConfig,
    "service_benefit": ServiceBenefitConfig,
    "replay": ReplayConfig,
}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (FOLDER / group).glob("*.yaml") if path.stem != "own")  # own needs a name


def assert_same_names(kind: type, given: dict[str, Any], where: str) -> None:
    names = {entry.name for entry in fields(kind)}
    assert set(given) == names, f"{where}: the file and {kind.__name__} differ"
    made = from_mapping(kind, given)
    for name in names:
        if is_dataclass(value := getattr(made, name)) and isinstance(given[name], dict):
            assert_same_names(type(value), given[name], f"{where}.{name}")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_has_a_default_in_the_file_and_every_default_a_field(name: str) -> None:
    assert_same_names(CONFIGS[name], compose(name, *NEEDED.get(name, [])), name)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, name) for group in ("engine", "workload", "scheduler", "reward") for name in choices(group)],
)
def test_every_choice_of_a_group_makes_an_environment(group: str, choice: str) -> None:
    config = from_mapping(TrainConfig, compose("train", f"{group}={choice}"))
    made = env_config(config)
    assert made.engines[0].name == config.engine.name
    assert made.action.knobs == Knobs(config.scheduler.knobs)


SETTINGS = (
    "fcfs_reserve",
    "tuned_andes",
    "best_static",
    "static_index",
    "growing_index",
    "gathering_index",
    "slicing_index",
    "clairvoyant",
)


def test_every_scheduler_has_a_file_and_one_line_that_says_what_it_is() -> None:
    assert set(choices("scheduler")) == {*SCHEDULERS, *SETTINGS}
    for path in (FOLDER / "scheduler").glob("*.yaml"):
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        assert first.startswith("# ") and "name:" in "".join(rest)


def test_length_sources_reach_the_environment_and_the_contender() -> None:
    config = from_mapping(TrainConfig, compose("train", "scheduler=srpt", "scheduler.length_sigma=0.3"))
    made, contender = env_config(config), config.scheduler.contender
    assert (made.lengths, made.length_sigma) == (contender.lengths, contender.length_sigma) == ("hazard", 0.3)
    assert contender.label == "srpt"
    exact = from_mapping(TrainConfig, compose("train", "scheduler=srpt", "scheduler.lengths=exact")).scheduler.contender
    assert exact.clairvoyant and exact.label == "srpt (clairvoyant)"
    with pytest.raises(AndesError, match="a real engine does not"):
        exact.check_deployable()


def test_every_agent_and_tracking_choice_has_exactly_the_fields_of_its_settings() -> None:
    for choice in choices("agent"):
        agent = compose("train", f"agent={choice}")["agent"]
        _, settings = agent_settings(agent)
        assert {entry.name for entry in fields(settings)} == set(agent) - {"algorithm"}
    for choice in choices("tracking"):
        assert from_mapping(TrainConfig, compose("train", f"tracking={choice}")).tracking.kind == choice


@pytest.mark.parametrize("override", ["mode=online", "tracking.mode=online"])
def test_the_tracking_mode_is_one_override(override: str) -> None:
    assert from_mapping(TrainConfig, compose("train", "tracking=wandb", override)).tracking.mode == "online"


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_opens_with_its_command_and_composes(name: str) -> None:
    lines = (FOLDER / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    command = lines[1].removeprefix("# python -m scripts.")
    script, *overrides = command.split()
    assert lines[0] == "# @package _global_" and f"experiment={name}" in overrides
    from_mapping(CONFIGS[script], compose(script, *overrides))


def test_the_default_action_is_the_engine_s() -> None:
    assert action_names(compose("train")["env"]["action"]) == DEFAULT_ACTION_KNOBS


@pytest.mark.parametrize("override", ["+typo=1", "+train.stps=5", "+env.loads=[1,2]", "+reward.qeo=2"])
def test_an_added_key_is_refused(override: str) -> None:
    with pytest.raises(UnknownNameError):
        from_mapping(TrainConfig, compose("train", override))


def test_more_engines_and_traffic_widen_the_episodes() -> None:
    overrides = ("+engine@more_engines.h=h100_llama3_8b", "+workload@more_workloads.g=gamma")
    made = env_config(from_mapping(TrainConfig, compose("train", *overrides)))
    assert [engine.name for engine in made.engines] == ["rtx4090_llama3_8b", "h100_llama3_8b"]
    assert [spec.name for spec in made.workloads] == ["burst", "gamma"]


def test_lengths_come_from_a_trace_when_training_on_one(real_trace: Path) -> None:
    config = from_mapping(TrainConfig, compose("train", f"trace='{real_trace}'", "workload.skip_zero=true"))
    assert len(spec_of(config.workload).lengths.prompt_tokens) > 1000


def test_validation_workloads_are_fixed_whatever_the_training_seed() -> None:
    prints = [
        [entry.workload.fingerprint for entry in validation_scenarios(made, env_config(made), made.engine)]
        for seed in (0, 7)
        for made in [from_mapping(TrainConfig, compose("train", "experiment=debug", f"seed={seed}"))]
    ]
    assert prints[0] == prints[1] and len(set(prints[0])) == 2


def test_wrong_names_inside_are_refused() -> None:
    for override in ("agent.algorithm=pp", "workload.lengths=shargpt", "env.action=[horizon]", "tracking.kind=wandbb"):
        with pytest.raises(AndesError, match="Did you mean"):
            config = from_mapping(TrainConfig, compose("train", override))
            agent_settings(config.agent)
            env_config(config)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("bursts=0", "at least 1"),
        ("load=0", "finite and > 0"),
        ("duration_s=-1", "finite and > 0"),
        ("duration_s=inf", "finite and > 0"),
    ],
)
def test_a_live_part_with_nothing_to_run_is_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"live: {override.split('=')[0]} = .* must be {told}"):
        from_mapping(LiveBenefitConfig, compose("live_benefit", f"live.{override}"))
