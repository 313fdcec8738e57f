"""What learning must find where there is no doubt what is right: in seconds, from the reference, by a constant action."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.schema import ConfigError
from agents.train import TrainResult, train
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import load_bundle
from tests.agents.conftest import debug_config

SEARCH = ("agent=cma_es", "agent.inputs=[]", "agent.sigma=0.3", "agent.population=8", "env.num_envs=8")
LIMITS = (
    "train.steps=6000",
    "train.eval_every=2000",
    "train.eval_seeds=3",
    "env.load=[1.3,1.6]",
    "train.eval_loads=[1.4]",
)


def learned(folder: Path, *overrides: str) -> tuple[TrainResult, float]:
    """A training run, and the first entry of the action it came to."""
    result = train(debug_config(folder / "run", *SEARCH, *LIMITS, *overrides))
    action = load_bundle(result.bundle).act(np.zeros(OBSERVATION_SIZE, dtype=np.float32))
    return result, float(action[0])


def test_a_knob_that_is_set_wrong_is_set_right(tmp_path: Path) -> None:
    """The reference gives prefill 32 tokens in an iteration; the answer is more."""
    starving = ("+scheduler.knobs.prefill_tokens_per_step=32", "env.action=[prefill_tokens_per_step, running_bonus]")
    result, action = learned(tmp_path, *starving)
    assert action > 0.3
    assert result.best.gain > 0.02 and result.best.low is not None and result.best.low > 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_an_index_discovers_shortest_remaining_first(seed: int, tmp_path: Path) -> None:
    """With known lengths, a weight on what remains must become negative."""
    spread = (
        "workload.lengths={prompt: {mean: 40, std: 10, high: 100}, output: {mean: 120, std: 160, low: 4, high: 400}}"
    )
    given = ("scheduler.lengths=exact", "env.action=[index_remaining, index_pace]", f"seed={seed}", spread)
    result, action = learned(tmp_path, *given)
    assert action < -0.1
    assert result.best.gain > 0.0 and result.best.low is not None and result.best.low > 0.0


def test_a_single_weight_is_too_few_for_cma_es(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two weights"):
        learned(tmp_path, "env.action=[horizon_s]")
