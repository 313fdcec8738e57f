"""Compare schedulers and a policy: `python -m scripts.compare policy=RUN/bundle [suite=NAME]`. Settings: `conf/compare.yaml`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from agents.cli import EXIT_INTERRUPTED, clear_errors, launch, settings_of

MOST_TABLES = 12
"""Tables that are printed; of a larger suite only the differences are, the rest is in the report."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="compare")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Compare, print the tables and where things are."""
    from rich.console import Console

    from agents.compare import compare
    from agents.config import CompareConfig
    from agents.schema import from_mapping
    from andes_engine.report.grid import to_rich

    config = from_mapping(CompareConfig, settings_of(cfg))
    try:
        result = compare(config)
    except KeyboardInterrupt:
        print(
            f"interrupted; finished runs are kept, start again with run_dir={config.run_dir} to go on", file=sys.stderr
        )
        raise SystemExit(EXIT_INTERRUPTED) from None
    console = Console(width=None if sys.stdout.isatty() else 140)
    shown = result.grids if len(result.grids) <= MOST_TABLES else result.grids[-1:]
    for grid in shown:
        console.print(to_rich(grid))
    if len(shown) < len(result.grids):
        console.print(f"{len(result.grids) - len(shown)} more tables, one for each setting and load, are in the report")
    console.print(f"report: {result.report}\nresults: {result.run_dir}/results.json", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
