"""Compare schedulers and a policy: `python -m scripts.compare policy=RUN/bundle [trace=PATH]`. Settings: `conf/compare.yaml`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="compare")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Compare, print the tables and where things are."""
    from rich.console import Console

    from agents.compare import compare
    from agents.config import CompareConfig
    from agents.schema import from_mapping
    from andes_engine.report.grid import to_rich

    result = compare(from_mapping(CompareConfig, settings_of(cfg)))
    console = Console(width=None if sys.stdout.isatty() else 140)
    for grid in result.grids:
        console.print(to_rich(grid))
    console.print(f"report: {result.report}\nresults: {result.run_dir}/results.json", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
