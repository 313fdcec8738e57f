"""The simulator and the engines in between against live vLLM: `python -m scripts.fidelity`. See `conf/fidelity.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="fidelity")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Run every workload on every engine, print the tables, say where they are."""
    from agents.fidelity import FidelityConfig, fidelity
    from agents.schema import from_mapping

    result = fidelity(from_mapping(FidelityConfig, settings_of(cfg)))
    print_result(result.grids, result.sentences, table=result.table)


if __name__ == "__main__":
    launch(main)
