"""What the policies of the zoo are worth, into RESULTS.md: `python -m scripts.results [size=smoke] [rerun=all] [out=.]`.

Settings: `conf/results.yaml`. Started again with the same run_dir, it goes on where it stopped.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, resumable, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="results")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Run, write the page, print the goals and where things are."""
    from agents.results.config import ResultsConfig
    from agents.results.run import results
    from agents.schema import from_mapping

    config = from_mapping(ResultsConfig, settings_of(cfg))
    with resumable("runs", config.run_dir):
        done = results(config)
    print_result([done.goals], [f"model card: {card}" for card in done.cards], page=done.page)


if __name__ == "__main__":
    launch(main)
