"""Train a policy on, live, and compare before and after: `python -m scripts.fine_tune policy=...`; `conf/fine_tune.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="fine_tune")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Train on the live engine, judge before and after, say where the bundle is."""
    from rich.console import Console

    from agents.fine_tune import FineTuneConfig, fine_tune
    from agents.schema import from_mapping
    from andes_engine.report.grid import to_rich

    console = Console()
    result = fine_tune(from_mapping(FineTuneConfig, settings_of(cfg)))
    console.print(to_rich(result.grid))
    console.print(f"bundle: {result.bundle}", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
