"""One burst under FCFS and Andes side by side in a browser: `python -m scripts.demo_page`. See `conf/demo_page.yaml`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="demo_page")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Serve the page until interrupted."""
    from agents.demo_page import DemoPageConfig, serve_page
    from agents.schema import from_mapping

    config = from_mapping(DemoPageConfig, settings_of(cfg))
    with suppress(KeyboardInterrupt):
        asyncio.run(serve_page(config, lambda url: print(f"open {url} in a browser; Ctrl-C ends it", flush=True)))


if __name__ == "__main__":
    launch(main)
