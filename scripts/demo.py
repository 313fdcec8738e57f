"""Train, compare, export and serve once: `python -m scripts.demo`. Settings: `conf/demo.yaml`."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="demo")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Run the demo and say where things are."""
    from rich.console import Console

    from agents.demo import DemoConfig, demo
    from agents.schema import from_mapping

    console = Console()
    result = demo(from_mapping(DemoConfig, settings_of(cfg)), console)
    console.rule("done")
    for part, seconds in result.seconds.items():
        console.print(f"{part}: {seconds:.0f} s")
    console.print(f"table: {result.table}\nreport: {result.report}", soft_wrap=True)


if __name__ == "__main__":
    launch(main)
