"""FCFS, Andes and a policy on live vLLM, paired over bursts: `python -m scripts.live_benefit`. See `conf/live_benefit.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="live_benefit")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Replay the bursts, print table and margins, say where the results are."""
    from agents.live_benefit import LiveBenefitConfig, live_benefit
    from agents.schema import from_mapping

    result = live_benefit(from_mapping(LiveBenefitConfig, settings_of(cfg)))
    print_result(result.grids, result.sentences, table=result.table)


if __name__ == "__main__":
    launch(main)
