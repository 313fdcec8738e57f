"""Measure this machine's step times on live vLLM: `python -m scripts.calibrate`. See `conf/calibrate.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="calibrate")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Run the grid, print errors by regime, say where the preset is."""
    from rich.console import Console

    from agents.calibrate import CalibrateConfig, calibrate
    from agents.schema import from_mapping
    from andes_engine.report.grid import to_rich

    console = Console()
    result = calibrate(from_mapping(CalibrateConfig, settings_of(cfg)))
    console.print(to_rich(result.grid))
    console.print(f"preset: engine.step_time={result.preset}", soft_wrap=True)
    if result.copy_s_per_block is not None:
        console.print(f"host memory: engine.host_copy_s_per_block={result.copy_s_per_block:.3g}", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
