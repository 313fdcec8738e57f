"""The Andes paper's figures and claims in the simulator: `python -m scripts.reproduce [size=smoke] [out=.]`.

Settings: `conf/reproduce.yaml`. Started again with the same run_dir, it goes on where it stopped.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, resumable, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="reproduce")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Run, write the document, print the claims and where things are."""
    from agents.reproduction.run import ReproduceConfig, reproduce
    from agents.reproduction.section import claims_grid
    from agents.schema import from_mapping

    config = from_mapping(ReproduceConfig, settings_of(cfg))
    with resumable("runs", config.run_dir):
        done = reproduce(config)
    claims = [claim for section in done.sections for claim in section.claims]
    print_result([claims_grid(claims)], document=done.document, report=done.report)


if __name__ == "__main__":
    launch(main)
