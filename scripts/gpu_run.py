"""Calibrate a GPU and compare the schedulers on it: `python -m scripts.gpu_run`. Settings: `conf/gpu_run.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, print_result, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="gpu_run")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Replay the bursts, print tables and margins, say where the results are."""
    from agents.gpu_run import GpuRunConfig, gpu_run
    from agents.schema import from_mapping

    result = gpu_run(from_mapping(GpuRunConfig, settings_of(cfg)))
    print_result(result.grids, result.sentences, results=result.results)


if __name__ == "__main__":
    launch(main)
