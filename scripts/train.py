"""Train a policy: `python -m scripts.train experiment=demo`. Settings: `conf/train.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="train")
@clear_errors
def main(cfg: DictConfig) -> float:
    """Train, say how it went and where things are; returns validation QoE for sweeps."""
    from agents.config import TrainConfig
    from agents.schema import from_mapping
    from agents.train import train

    result = train(from_mapping(TrainConfig, settings_of(cfg)))
    print("\n".join(result.lines()))
    return result.best.qoe


if __name__ == "__main__":
    launch(main)
