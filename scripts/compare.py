"""Compare schedulers and a policy: `python -m scripts.compare policy=RUN/bundle [suite=NAME]`. Settings: `conf/compare.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, resumable, settings_of

MOST_TABLES = 12
"""Tables that are printed; of a larger suite only the differences are, the rest is in the report."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="compare")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Compare, print the tables and where things are."""
    from agents.compare import compare
    from agents.config import CompareConfig
    from agents.schema import from_mapping

    config = from_mapping(CompareConfig, settings_of(cfg))
    with resumable("runs", config.run_dir):
        result = compare(config)
    shown = result.grids if len(result.grids) <= MOST_TABLES else result.grids[-1:]
    left = len(result.grids) - len(shown)
    said = [f"{left} more tables, one for each setting and load, are in the report"] if left else []
    print_result(shown, said, report=result.report, results=result.run_dir / "results.json")


if __name__ == "__main__":
    launch(main)
