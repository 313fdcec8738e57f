"""Put trained policies into the zoo: `python -m scripts.zoo name=NAME runs=[RUN,...]`. Settings: `conf/zoo.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="zoo")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Publish, print what the zoo has."""
    from agents.schema import from_mapping
    from agents.zoo.publish import ZooConfig, publish
    from agents.zoo.table import zoo_grid

    folders = publish(from_mapping(ZooConfig, settings_of(cfg)))
    grid = zoo_grid()
    said = [f"published: {folder}" for folder in folders]
    print_result([grid] if grid.rows else [], said if grid.rows else [f"{grid.title}: none yet"])


if __name__ == "__main__":
    launch(main)
