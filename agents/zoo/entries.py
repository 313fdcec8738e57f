"""What the zoo has. Of a recipe `NAME` the best training seed lies in `NAME`, the others in `NAME_seedS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from agents.schema import ConfigError
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.policy.bundle import Bundle, load_bundle

FOLDER = Path(__file__).resolve().parent
PREFIX = "zoo"
SEED = "_seed"


def zoo_name(given: PurePath | str) -> str | None:
    """`NAME` of `zoo/NAME`; None for any other path."""
    parts = PurePath(given).parts
    return parts[1] if len(parts) == 2 and parts[0] == PREFIX else None


def zoo_names(zoo: Path = FOLDER) -> list[str]:
    """Every policy there is."""
    return sorted(path.parent.name for path in zoo.glob("*/bundle.json"))


def zoo_folder(name: str, zoo: Path = FOLDER) -> Path:
    """The bundle's folder.

    Raises:
        UnknownNameError: Listing what the zoo has.
    """
    if name not in (known := zoo_names(zoo)):
        raise UnknownNameError("policy of the zoo", name, known or ["none yet"])
    return zoo / name


def recipes(zoo: Path = FOLDER) -> Mapping[str, tuple[Bundle, ...]]:
    """The policies of every recipe, the best seed first, then by seed.

    Raises:
        AndesError: If seeds of a recipe lie there without its best.
    """
    found: dict[str, tuple[Bundle, ...]] = {}
    for name in zoo_names(zoo):
        recipe = name.partition(SEED)[0]
        if name != recipe and recipe not in found:
            raise AndesError(f"{zoo / name}: there is no '{recipe}' beside it; publish the recipe again (scripts.zoo)")
        found[recipe] = (*found.get(recipe, ()), load_bundle(zoo / name))
    return {
        recipe: (bundles[0], *sorted(bundles[1:], key=lambda bundle: training_seed(bundle)))
        for recipe, bundles in found.items()
    }


def training_seeds(bundles: Sequence[Bundle], whose: str) -> list[int]:
    """Seed of each training run, all different.

    Args:
        bundles: Of one recipe.
        whose: What the message calls them.

    Raises:
        AndesError: If a bundle does not say, or two have one seed.
    """
    seeds = [training_seed(bundle) for bundle in bundles]
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"{whose} were trained with seeds {seeds}; give each seed once")
    return seeds


def training_seed(bundle: Bundle) -> int:
    """Seed of the training run.

    Raises:
        AndesError: If the bundle does not say.
    """
    seed = bundle.provenance.get("seed")
    if not isinstance(seed, int):
        raise AndesError(f"bundle '{bundle.name}' does not say which seed it was trained with; export it from its run")
    return seed
