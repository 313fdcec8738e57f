"""Serve a model with vLLM: `python -m scripts.serve model=MODEL policy=BUNDLE`. Settings: `conf/serve.yaml`."""

from __future__ import annotations

import os
import shlex

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="serve")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Print the command, then become the server."""
    from agents.config import ServeConfig
    from agents.schema import from_mapping
    from agents.serve import serve_command

    config = from_mapping(ServeConfig, settings_of(cfg))
    command = serve_command(config)
    print(shlex.join(command), flush=True)
    if not config.dry_run:
        os.execv(command[0], command)


if __name__ == "__main__":
    launch(main)
