"""Who is judged: schedulers with fixed knobs, and recipes, each of which is judged over all its training seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agents.export import policy_folder
from agents.results.config import ResultsConfig
from agents.schema import ConfigError
from agents.zoo.entries import recipes, training_seed, training_seeds
from andes_engine.contender import Contender
from andes_engine.policy.bundle import load_bundle


class Member(NamedTuple):
    """One contender of an arm, and the seed it was trained with; 0 where nothing was trained."""

    seed: int
    contender: Contender

    @property
    def fixed(self) -> bool:
        """Whether it is a fixed setting that a server could run."""
        return self.contender.bundle is None and not self.contender.clairvoyant


@dataclass(frozen=True, slots=True)
class Arm:
    """What tables give one row.

    Args:
        name: Different for every arm.
        members: One for each training seed; none where only recorded rows are left of it.
        recipe: Whether it comes from the zoo.
    """

    name: str
    members: tuple[Member, ...]
    recipe: bool = False

    @property
    def fixed(self) -> bool:
        """Whether it is one of the settings to choose from in hindsight."""
        return bool(self.members) and all(member.fixed for member in self.members)

    @property
    def clairvoyant(self) -> bool:
        """Whether it knows true output lengths."""
        return any(member.contender.clairvoyant for member in self.members)


def arms_of(config: ResultsConfig) -> list[Arm]:
    """Everybody: configured schedulers, the zoo, ablations, and the fixed settings of the choice in hindsight.

    Raises:
        AndesError: If two have one name, or only a part of an ablation's runs is there.
    """
    arms = [
        *(Arm(entry.name, (Member(0, entry.contender),)) for entry in config.compare.contenders.values()),
        *_zoo(),
        *_ablated(config),
        *(Arm(entry.name, (Member(0, entry.contender),)) for entry in config.hindsight.values()),
    ]
    names = [arm.name for arm in arms]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two that take part are called '{twice}'; give each a name of its own")
    return arms


def policies_of(config: ResultsConfig, arms: Sequence[Arm]) -> tuple[str, ...]:
    """The arms that the goals are about: as configured, or the recipe with the most training seeds; none while the zoo is empty.

    Raises:
        ConfigError: If a configured one does not take part.
    """
    known = [arm.name for arm in arms]
    if gone := next((name for name in config.policies if name not in known), None):
        raise ConfigError(f"policy '{gone}' does not take part; those who do are {', '.join(known)}")
    found = [arm for arm in arms if arm.recipe]
    return config.policies or ((max(found, key=lambda arm: len(arm.members)).name,) if found else ())


def _zoo() -> Iterator[Arm]:
    for name, bundles in recipes().items():
        members = (Member(training_seed(bundle), Contender(bundle.name, bundle=bundle)) for bundle in bundles)
        yield Arm(name, tuple(sorted(members, key=lambda member: member.seed)), recipe=True)


def _ablated(config: ResultsConfig) -> Iterator[Arm]:
    known = {*(entry.name for entry in config.compare.contenders.values()), *recipes()}
    for name, ablation in config.ablations.items():
        if ablation.runs or name not in known:
            yield Arm(name, tuple(sorted(_trained(name, ablation.runs), key=lambda member: member.seed)))


def _trained(name: str, runs: Sequence[str]) -> list[Member]:
    folders = [policy_folder(run) for run in runs]
    gone = [str(folder) for folder in folders if not Path(folder, "bundle.json").is_file()]
    if len(gone) == len(folders):
        return []
    if gone:
        raise ConfigError(
            f"ablation '{name}': no bundle in {', '.join(gone)}; train them, or leave all of its runs out"
        )
    bundles = [load_bundle(folder) for folder in folders]
    seeds = training_seeds(bundles, f"ablation '{name}': its runs")
    return [
        Member(seed, Contender(f"{name}_seed{seed}", bundle=bundle))
        for seed, bundle in zip(seeds, bundles, strict=True)
    ]
