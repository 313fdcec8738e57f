"""Whoever takes part in a comparison: a scheduler with fixed knobs, or a policy bundle that sets them as it goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from andes_engine.errors import AndesError
from andes_engine.knobs import Knobs
from andes_engine.lengths import length_source
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.schedulers import OWN, SCHEDULERS, scheduler_id
from andes_engine.schedulers.own import load_score


def marked(name: str, clairvoyant: bool) -> str:
    """The name in tables and figures: of whoever knows true output lengths it says so."""
    return f"{name} (clairvoyant)" if clairvoyant and name != "clairvoyant" else name


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of a results table.

    Args:
        name: What tables and figures call it.
        scheduler: Name from `schedulers.SCHEDULERS`, or ``module.function`` of a user's own.
        knobs: Knobs that differ from the paper's defaults; with a bundle, its reference counts instead.
        bundle: Policy that sets the knobs at its decision interval. What it was trained with counts then: its scheduler, length
            source and kept KV caches.
        lengths: Source of expected output lengths, from `lengths.LENGTH_SOURCES`.
        length_sigma: Standard deviation of the noisy source's error, in logarithms.
        keep_kv: Host memory for KV caches of preempted requests, in shares of the device's; 0: they are recomputed.

    Raises:
        UnknownNameError: If there is no such scheduler, knob or length source.
        SchedulerError: If a user's own scheduler cannot be found.
        AndesError: If a knob is out of bounds, or `length_sigma` or `keep_kv` is not >= 0; the message names the contender.
    """

    name: str
    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    bundle: Bundle | None = None
    lengths: str = "none"
    length_sigma: float = 0.6
    keep_kv: float = 0.0

    def __post_init__(self) -> None:
        if self.bundle is not None:
            for name in ("scheduler", "lengths", "keep_kv"):
                object.__setattr__(self, name, getattr(self.bundle, name))
        if scheduler_id(self.scheduler) == OWN:
            load_score(self.scheduler)  # told now, not by a worker process minutes later
        Knobs(self.knobs)
        length_source(self.lengths)
        for name in ("length_sigma", "keep_kv"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise AndesError(f"contender '{self.name}': {name} = {value} must be a finite number >= 0")

    @property
    def clairvoyant(self) -> bool:
        """Whether it is told true output lengths, which no server knows."""
        return length_source(self.lengths).clairvoyant

    def check_deployable(self) -> None:
        """Refuse on a real engine what only a simulator can give.

        Raises:
            AndesError: If it is clairvoyant.
        """
        if self.clairvoyant:
            raise AndesError(
                f"contender '{self.name}': lengths '{self.lengths}' knows true output lengths, a real engine does not; "
                "take lengths=hazard or lengths=none"
            )

    @property
    def label(self) -> str:
        """What records, tables and figures call it: the name, marked if it is clairvoyant."""
        return marked(self.name, self.clairvoyant)

    @property
    def given_knobs(self) -> Mapping[str, float]:
        """Knobs that differ from the paper's defaults, before the first decision of a bundle or for good."""
        return self.bundle.action.reference if self.bundle else self.knobs

    @property
    def start_knobs(self) -> Knobs:
        """All knobs before the first decision of a bundle, or for good."""
        return Knobs(self.given_knobs)


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
