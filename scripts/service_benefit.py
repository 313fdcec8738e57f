"""Schedulers and policies behind real servers, one after the other: `python -m scripts.service_benefit`.

Settings: `conf/service_benefit.yaml`.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="service_benefit")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Serve, load, print table and margins."""
    from rich.console import Console

    from agents.schema import from_mapping
    from agents.service_benefit import ServiceBenefitConfig, service_benefit
    from andes_engine.report.grid import to_rich
    from andes_engine.report.tables import compare, comparison_grid

    console = Console()
    found = service_benefit(from_mapping(ServiceBenefitConfig, settings_of(cfg)))
    records = [record for several in found.records.values() for record in several]
    keys = ("qoe_mean", "qoe_p10", "ttft_p50_s", "ttft_p90_s", "tokens_per_s")
    console.print(to_rich(comparison_grid(compare({"": records}, keys), "At the client, burst by burst")))
    console.print("\n".join(found.sentences()))
    for name, measured in found.bench.items():
        console.print(
            f"vllm bench serve, {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in measured.items())
        )


if __name__ == "__main__":
    launch(main)
