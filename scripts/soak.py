"""Soak a real server: `python -m scripts.soak minutes=20`. Settings: `conf/soak.yaml`. Exit code 1: a check failed."""

from __future__ import annotations

import shlex
import sys

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="soak")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Print the verdicts and where they are."""
    from rich.console import Console

    from agents.schema import from_mapping
    from agents.soak import SoakConfig, soak
    from andes_engine.report.grid import to_rich

    given = [override for override in sys.argv[1:] if not override.startswith("run_dir=")]
    result = soak(from_mapping(SoakConfig, settings_of(cfg)), shlex.join(["python", "-m", "scripts.soak", *given]))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(to_rich(result.grid))
    console.print(f"results: {result.results}", soft_wrap=True)
    if not result.passed:
        raise SystemExit(1)


if __name__ == "__main__":
    launch(main)
