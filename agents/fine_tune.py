"""A policy from the simulator trained on in real time on the live engine, and both judged on the same live bursts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.random import SeedSequence
from tqdm import tqdm

from agents.actor import actor_of, put_actor
from agents.build import SPLITS
from agents.config import TrainSettings
from agents.export import policy_folder
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError
from agents.statistics import Pair, paired_difference
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.records import RunRecord
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.workload import Workload
from envs.config import EnvConfig
from envs.episodes import EpisodeSampler

if TYPE_CHECKING:
    from envs import SchedulerEnv


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """`conf/fine_tune.yaml`.

    Args:
        seed: Of exploration, episodes and bootstrap.
        run_dir: Where the new bundle and the comparison go.
        policy: Bundle to start from, or the training run it is in.
        agent: `algorithm` and its settings; the hidden layers are the bundle's.
        steps: Decisions on the live engine, each as long as the bundle's interval.
        bursts: Held-out bursts that the policy is judged on before and after.
        load: Arrival rates of episodes and bursts, in shares of FCFS saturation: lowest and highest.
        document: Markdown file for the table, besides the run directory.
    """

    seed: int
    run_dir: str
    policy: str
    agent: Mapping[str, Any]
    steps: int = 512
    bursts: int = 5
    load: tuple[float, float] = (1.0, 2.0)
    document: str | None = None

    def __post_init__(self) -> None:
        if self.steps < 2 or self.bursts < 1:
            raise ConfigError(f"fine-tuning needs steps >= 2 and bursts >= 1, got {self.steps} and {self.bursts}")


@dataclass(frozen=True, slots=True)
class FineTuneResult:
    """The new bundle, and what it is worth against the one it came from."""

    bundle: Path
    differences: tuple[Difference, ...]
    grid: Grid


def fine_tune(config: FineTuneConfig) -> FineTuneResult:
    """Train on, then replay every burst under both policies in turn.

    Raises:
        AndesError: If the configuration or the bundle cannot work, or training diverged.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    import envs
    from envs.live_engine import live_config

    before = load_bundle(policy_folder(config.policy))
    settings = replace(
        live_config(),
        action=before.action,
        decision_interval_s=before.decision_interval_s,
        load=config.load,
        scheduler=before.scheduler,
        lengths=before.lengths,
        keep_kv=before.keep_kv,
    )
    run = RunDir.create(config.run_dir, plain(config), config.seed)
    env = envs.make_live(settings)
    try:
        layers = _trained(env, before, config)
        provenance = {
            **made_with(),
            "fine_tuned_from": before.name,
            "earlier": dict(before.provenance),
            "config": config,
        }
        after = replace(before, name=f"{before.name}_live", layers=layers, provenance=plain(provenance))
        after = replace(after, model_card=_card(before, config))
        path = after.save(run.path / "bundle")
        records = _judged(env, settings, [before, after], config)
    finally:
        env.close()
    pairs = [Pair(new, old) for old, new in records]
    found = tuple(paired_difference(pairs, key, config.seed) for key in ("qoe_mean", "qoe_p10", "tokens_per_s"))
    grid = difference_grid(found, "Live vLLM, after fine-tuning against before, paired over bursts")
    (run.path / "table.md").write_text(to_markdown(grid), encoding="utf-8")
    if config.document:
        Path(config.document).write_text(_document(config, records, to_markdown(grid)), encoding="utf-8")
    means = [{run.scheduler: float(run.qoe.mean()) for run in pair} for pair in records]
    run.write_results({"differences": found, "qoe_mean": means, "steps": config.steps})
    return FineTuneResult(path, found, grid)


def _document(config: FineTuneConfig, records: Sequence[Sequence[RunRecord]], table: str) -> str:
    command = f"python -m scripts.fine_tune policy={config.policy} steps={config.steps} bursts={config.bursts}"
    by_policy = zip(*records, strict=True)
    levels = "; ".join(f"{runs[0].scheduler} {np.mean([run.qoe.mean() for run in runs]):.3f}" for runs in by_policy)
    return (
        f"# A policy trained on in live vLLM\n\nWritten by `{command}` at commit `{made_with()['commit']}`: PPO in real time on "
        f"the CPU engine. Mean QoE over the same {config.bursts} held-out bursts: {levels}.\n\n{table}"
    )


def _trained(env: SchedulerEnv, bundle: Bundle, config: FineTuneConfig) -> Any:
    """Actor layers after the given number of decisions."""
    import torch
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from agents.algorithms import build_model
    from agents.learner import Watch, check_weights
    from agents.tracking import NoTracker

    torch.set_num_threads(1)
    hidden = [weight.shape[0] for weight, _ in bundle.layers[:-1]]
    model = build_model({**config.agent, "hidden": hidden}, DummyVecEnv([lambda: Monitor(env)]), config.seed)
    put_actor(model.policy, bundle)
    settings = TrainSettings(steps=config.steps, eval_every=config.steps + 1)
    model.learn(config.steps, callback=Watch(settings, NoTracker(), lambda _: {}))
    check_weights(model.policy, model.num_timesteps)
    return actor_of(model.policy).layers


def _judged(
    env: SchedulerEnv, settings: EnvConfig, bundles: Sequence[Bundle], config: FineTuneConfig
) -> list[list[RunRecord]]:
    """Each held-out burst under each policy in turn, so that a machine that changes its speed does so for both."""
    sampler = EpisodeSampler(settings, SeedSequence(SPLITS["held_out"]))
    bursts = [sampler.next().workload for _ in range(config.bursts)]
    return [
        [replace(_replayed(env, burst, bundle), scheduler=bundle.name) for bundle in bundles]
        for burst in tqdm(bursts, desc="judging", unit="burst", disable=None)
    ]


def _replayed(env: SchedulerEnv, burst: Workload, bundle: Bundle) -> RunRecord:
    observation, _ = env.reset(options={"workload": burst})
    act = bundle.actor()
    while True:
        observation, _, terminated, truncated, info = env.step(act(observation))
        if terminated or truncated:
            record: RunRecord = info["record"]
            return record


def _card(bundle: Bundle, config: FineTuneConfig) -> str:
    low, high = config.load
    return (
        f"# {bundle.name}_live\n\n'{bundle.name}' after {config.steps} decisions of {bundle.decision_interval_s:g} s on live "
        f"vLLM (CPU, tiny model), loads {low:g} to {high:g}. Compare it on your engine before you use it.\n\n{bundle.model_card}"
    )
