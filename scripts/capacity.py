"""Load that each scheduler carries at a QoE: `python -m scripts.capacity search.target=0.95`. Settings: `conf/capacity.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, resumable, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="capacity")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Search, print the table, what it says, and where things are."""
    from agents.capacity import CapacityConfig, run_capacity
    from agents.schema import from_mapping

    config = from_mapping(CapacityConfig, settings_of(cfg))
    with resumable("points", config.run_dir):
        done = run_capacity(config)
    print_result(
        [done.grid], done.found.sentences, results=done.run_dir / "results.json", figures=done.run_dir / "figures"
    )


if __name__ == "__main__":
    launch(main)
