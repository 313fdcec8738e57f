"""Write the policy bundle of a training run: `python -m scripts.export run=RUN`. Settings: `conf/export.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="export")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Export and say where the bundle is."""
    from agents.config import ExportConfig
    from agents.export import export_checkpoint
    from agents.schema import from_mapping

    config = from_mapping(ExportConfig, settings_of(cfg))
    bundle = export_checkpoint(config.run, config.checkpoint, config.out, config.name)
    print(f"bundle: {bundle}\nserve it: python -m scripts.serve model=MODEL policy={bundle}")


if __name__ == "__main__":
    launch(main)
