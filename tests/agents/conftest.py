"""Small training runs: one engine with little memory, a few seconds of traffic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.cli import compose
from agents.config import TrainConfig
from agents.schema import from_mapping

TrainFor = Callable[..., TrainConfig]


@pytest.fixture
def train_config(tmp_path: Path) -> TrainFor:
    """Configuration of a training run in a fresh directory; overrides as on the command line."""
    return lambda *overrides, name="run": debug_config(tmp_path / name, *overrides)


def debug_config(run_dir: Path, *overrides: str) -> TrainConfig:
    given = ("experiment=debug", "tracking=none", "train.progress=false", f"run_dir={run_dir}", *overrides)
    return from_mapping(TrainConfig, compose("train", *given))
