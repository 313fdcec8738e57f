"""Train a policy on, live, and compare before and after: `python -m scripts.fine_tune policy=...`; `conf/fine_tune.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="fine_tune")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Train on the live engine, judge before and after, say where the bundle is."""
    from agents.fine_tune import FineTuneConfig, fine_tune
    from agents.schema import from_mapping

    result = fine_tune(from_mapping(FineTuneConfig, settings_of(cfg)))
    print_result([result.grid], bundle=result.bundle)


if __name__ == "__main__":
    launch(main)
