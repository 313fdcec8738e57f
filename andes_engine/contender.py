"""Whoever takes part in a comparison: a scheduler with fixed knobs, or a policy bundle that sets them as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from andes_engine.knobs import Knobs
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.schedulers import SCHEDULERS, scheduler_id


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of a results table.

    Args:
        name: What tables and figures call it.
        scheduler: Name from `schedulers.SCHEDULERS`.
        knobs: Knobs that differ from the paper's defaults; with a bundle, its reference counts instead.
        bundle: Policy that sets the knobs at its decision interval.

    Raises:
        UnknownNameError: If there is no such scheduler or knob.
        KnobError: If a knob is out of bounds.
    """

    name: str
    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    bundle: Bundle | None = None

    def __post_init__(self) -> None:
        scheduler_id(self.scheduler)
        Knobs(self.knobs)

    @property
    def start_knobs(self) -> Knobs:
        """Knobs before the first decision of a bundle, or for good."""
        return self.bundle.action.knobs if self.bundle else Knobs(self.knobs)


def contender(text: str, name: str | None = None) -> Contender:
    """A contender from one word: a scheduler's name, a user's own ``module.function``, or the folder of a policy bundle.

    Raises:
        UnknownNameError: If it is none of them.
        BundleError: If the folder holds no bundle this version can serve.
    """
    if text in SCHEDULERS:
        return Contender(name or text, text)
    if Path(text).exists() or "/" in text:
        bundle = load_bundle(text)
        return Contender(name or bundle.name, bundle=bundle)
    scheduler_id(text)  # a user's own function, or refused
    return Contender(name or text, text)
