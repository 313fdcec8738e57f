"""Training runs of one recipe into the zoo: small bundles, each with a card that says how to train it again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.cli import group_names
from agents.export import policy_folder
from agents.run_dir import write_text
from agents.schema import ConfigError
from agents.zoo.entries import FOLDER, SEED, training_seed, training_seeds
from agents.zoo.table import zoo_page
from andes_engine.errors import BundleError, check_known
from andes_engine.policy.bundle import Bundle, load_bundle

MOST_BYTES = 60_000
"""All of the zoo: it is part of the repository and of the package."""

PAGE = "README.md"


@dataclass(frozen=True, slots=True)
class ZooConfig:
    """`conf/zoo.yaml`.

    Args:
        name: Of the recipe; null only writes the zoo's page anew.
        runs: Training runs, or bundles, of different seeds.
        recipe: What trains it, a file of `conf/experiment`; by default `name`.
        replace: Whether a recipe of this name goes.
    """

    name: str | None = None
    runs: tuple[str, ...] = ()
    recipe: str | None = None
    replace: bool = False

    def __post_init__(self) -> None:
        if (self.name is None) != (not self.runs):
            raise ConfigError("give name=NAME and runs=[RUN,...] together, or neither to write the zoo's page anew")
        if self.name is not None and (not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or SEED in self.name):
            raise ConfigError(f"name = {self.name!r} must be lower case letters, digits and _, without '{SEED}'")


def publish(config: ZooConfig, zoo: Path = FOLDER) -> list[Path]:
    """Put the best seed on validation into `NAME`, the others into `NAME_seedS`, and write the page; returns the folders.

    Raises:
        AndesError: If a run cannot be published, the recipe is there already, or the zoo would be too large; nothing is
            changed then.
    """
    bundles = _bundles(config)
    old = [path for path in zoo.glob("*/") if config.name and path.name.partition(SEED)[0] == config.name]
    if old and not config.replace:
        raise ConfigError(f"{old[0]} is there already; give replace=true, or another name")
    staging = zoo / ".publishing"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        new = [bundle.save(staging / bundle.name) for bundle in bundles]
        _check_size(zoo, old, new)
        for path in old:
            shutil.rmtree(path)
        folders = [path.rename(zoo / path.name) for path in new]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_text(zoo / PAGE, zoo_page(zoo))
    return folders


def _bundles(config: ZooConfig) -> list[Bundle]:
    """Under the names of the zoo, the best first."""
    if config.name is None:
        return []
    experiment = config.recipe or config.name
    check_known("experiment", [experiment], group_names("experiment"))
    given = [load_bundle(policy_folder(run)) for run in config.runs]
    training_seeds(given, "the runs")
    ranked = sorted(given, key=_validation_qoe, reverse=True)
    names = [config.name, *(f"{config.name}{SEED}{training_seed(bundle)}" for bundle in ranked[1:])]
    best, *others = (_small(bundle, name, experiment) for bundle, name in zip(ranked, names, strict=True))
    return [best, *(replace(bundle, model_card="") for bundle in others)]  # one card for the recipe


def _validation_qoe(bundle: Bundle) -> float:
    validation = bundle.provenance.get("validation")
    if not isinstance(validation, Mapping) or "qoe" not in validation:
        raise BundleError(f"bundle '{bundle.name}' was never validated; train it with train.eval_every")
    return float(validation["qoe"])


def _small(bundle: Bundle, name: str, experiment: str) -> Bundle:
    """The bundle with the part of its history that a reader needs; the command makes the rest again."""
    again = f"python -m scripts.train experiment={experiment} seed={training_seed(bundle)}"
    kept = ("run", "seed", "commit", "steps", "validation", "references")
    provenance = {key: bundle.provenance[key] for key in kept if key in bundle.provenance}
    provenance |= {"train_again": again, "trained_on": _trained_on(bundle.provenance.get("config"))}
    _, _, told = bundle.model_card.partition("\n\n")
    card = f"# {name}\n\n{told.strip()}\n\nTrained by `{again}`. How it does on held-out workloads: RESULTS.md.\n"
    return replace(bundle, name=name, provenance=provenance, model_card=card)


def _trained_on(config: Any) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {}
    env, agent = config.get("env", {}), config.get("agent", {})
    return {
        "engines": [one["name"] for one in (config["engine"], *config.get("more_engines", {}).values())],
        "traffic": [one["name"] for one in (config["workload"], *config.get("more_workloads", {}).values())],
        "loads": env.get("load"),
        "algorithm": agent.get("algorithm"),
        "reference": config["scheduler"]["name"],
    }


def _check_size(zoo: Path, old: Sequence[Path], new: Sequence[Path]) -> None:
    kept = [path for path in zoo.glob("*/*") if path.parent not in old and path.parent.name != "__pycache__"]
    size = sum(path.stat().st_size for path in (*kept, *(path for folder in new for path in folder.iterdir())))
    if size > MOST_BYTES:
        raise ConfigError(
            f"the zoo would take {size:,} bytes, at most {MOST_BYTES:,} fit; publish fewer seeds or a smaller net"
        )
