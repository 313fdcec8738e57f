"""Load on a live server: `python -m scripts.load url=http://127.0.0.1:8000 workload=tiny`. Settings: `conf/load.yaml`."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="load")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Replay the workload, print the table and where things are."""
    from rich.console import Console

    from agents.load import LoadConfig, load
    from agents.schema import from_mapping
    from andes_engine.report.grid import to_rich

    result = load(from_mapping(LoadConfig, settings_of(cfg)))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(to_rich(result.grid))
    console.print("\n".join(result.sentences), soft_wrap=True, markup=False, highlight=False)
    console.print(f"records: {result.run_dir}/requests.jsonl\nreport: {result.run_dir}/report.html", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
