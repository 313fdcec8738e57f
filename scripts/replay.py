"""Make a row of a comparison again: `python -m scripts.replay row=RUN_DIR#ROW`. Exit code 1 if a bit differs."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from agents.cli import clear_errors, launch, settings_of


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="replay")
@clear_errors
def main(cfg: DictConfig) -> None:
    """Replay, say what came of it."""
    from agents.replay import ReplayConfig, replay
    from agents.schema import from_mapping

    result = replay(from_mapping(ReplayConfig, settings_of(cfg)))
    print("\n".join(result.lines()))
    if result.differing:
        raise SystemExit(1)


def quoted(argument: str) -> str:
    """`row=RUN#ID` as one quoted value, for Hydra ends an unquoted one at the mark."""
    key, _, value = argument.partition("=")
    if key != "row" or value[:1] in ("'", '"'):
        return argument
    return "row='{}'".format(value.replace("'", r"\'"))


if __name__ == "__main__":
    sys.argv[1:] = [quoted(argument) for argument in sys.argv[1:]]
    launch(main)
