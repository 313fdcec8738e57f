"""What a search may choose: knobs within their bounds, schedulers, length sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import BaseTrial

from agents.config import SchedulerSettings
from agents.schema import ConfigError
from andes_engine.errors import KnobError, check_known
from andes_engine.knobs import Knob, Knobs, knob
from andes_engine.lengths import length_source
from andes_engine.schedulers import scheduler_kind

DIGITS = 4
"""Significant digits of a knob that is tried, so that what is tried is what is written."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """`conf/search/NAME.yaml`.

    Args:
        name: What the winner is called.
        knobs: Knobs that move, with narrower bounds `[low, high]`, or None for those of `andes_engine.knobs`.
        schedulers: Schedulers to choose from.
        lengths: Length sources to choose from; none may be clairvoyant.
        keep_kv: Host memory for KV caches of preempted requests to choose from, in shares of the device's.
        fixed: Knobs that stand still off the paper's default.
        variations: Changes of the first start, each tried as well: in many dimensions a search finds no better place in a few
            hundred trials unless it starts near one.

    Raises:
        UnknownNameError: If there is no such knob, scheduler or length source.
        KnobError: If bounds are no two rising numbers within the knob's.
        ConfigError: If nothing moves, a knob both moves and is fixed, or a length source is clairvoyant.
    """

    name: str
    knobs: Mapping[str, Any]
    schedulers: tuple[str, ...] = ("andes",)
    lengths: tuple[str, ...] = ("none",)
    keep_kv: tuple[float, ...] = (0.0,)
    fixed: Mapping[str, float] = field(default_factory=dict)
    variations: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        Knobs(self.fixed)
        for name, given in self.knobs.items():
            _bounds(knob(name), given)
        if both := sorted(set(self.knobs) & set(self.fixed)):
            raise ConfigError(f"knob '{both[0]}' both moves and is fixed; leave it out of `knobs` or of `fixed`")
        for name in self.schedulers:
            scheduler_kind(name)
        if clairvoyant := [name for name in self.lengths if length_source(name).clairvoyant]:
            raise ConfigError(
                f"lengths '{clairvoyant[0]}' knows true output lengths, no server does; give none or hazard"
            )
        if not (self.schedulers and self.lengths and self.keep_kv and self.knobs):
            raise ConfigError(f"search '{self.name}' has nothing to choose; name at least one knob under `knobs`")

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """What is chosen from a list of more than one."""
        given: dict[str, tuple[Any, ...]] = {
            "scheduler": self.schedulers,
            "lengths": self.lengths,
            "keep_kv": self.keep_kv,
        }
        return {name: values for name, values in given.items() if len(values) > 1}

    def bounds(self, name: str) -> tuple[float, float]:
        """Bounds of a knob that moves."""
        return _bounds(knob(name), self.knobs[name])

    def suggest(self, trial: BaseTrial) -> SchedulerSettings:
        """The setting a trial is to try."""
        knobs = {name: trial.suggest_float(name, *self.bounds(name), log=knob(name).log) for name in self.knobs}
        chosen = {name: trial.suggest_categorical(name, names) for name, names in self.choices.items()}
        return self.setting({**knobs, **chosen})

    def setting(self, values: Mapping[str, Any]) -> SchedulerSettings:
        """The setting with these values of what moves."""
        knobs = {name: _rounded(values[name], *self.bounds(name)) for name in self.knobs}
        scheduler, lengths = values.get("scheduler", self.schedulers[0]), values.get("lengths", self.lengths[0])
        keep_kv = values.get("keep_kv", self.keep_kv[0])
        return SchedulerSettings(self.name, scheduler, {**self.fixed, **knobs}, lengths, keep_kv=keep_kv)

    def values(self, setting: SchedulerSettings) -> dict[str, Any]:
        """What moves, as it is in a setting, to start from it; what the search holds fixed is not looked at.

        Raises:
            ConfigError: If the setting lies outside.
        """
        found: dict[str, Any] = {name: getattr(setting, name) for name in ("scheduler", "lengths", "keep_kv")}
        found |= Knobs(setting.knobs)
        self._check(found, f"start '{setting.name}'")
        return {name: found[name] for name in (*self.knobs, *self.choices)}

    def starts(self, settings: Iterable[SchedulerSettings]) -> list[dict[str, Any]]:
        """What moves in each setting to start from, and in the variations of the first.

        Raises:
            ConfigError: If one lies outside.
            UnknownNameError: If a variation changes what does not move.
        """
        found = [self.values(setting) for setting in settings]
        for changes in self.variations if found else ():
            check_known("name in search.variations", changes, (*self.knobs, *self.choices))
            varied = {**found[0], **changes}
            self._check(varied, f"variation {dict(changes)}")
            found.append(varied)
        return found

    def _check(self, found: Mapping[str, Any], what: str) -> None:
        outside = [name for name in self.knobs if not self.bounds(name)[0] <= found[name] <= self.bounds(name)[1]]
        outside += [name for name, names in self.choices.items() if found[name] not in names]
        if outside:
            raise ConfigError(
                f"{what} has {outside[0]} = {found[outside[0]]}, which search '{self.name}' does not reach"
            )


def _bounds(entry: Knob, given: Any) -> tuple[float, float]:
    if given is None:
        return entry.low, entry.high
    numbers = isinstance(given, list | tuple) and all(type(value) in (int, float) for value in given)
    if not numbers or len(given) != 2 or not entry.low <= given[0] < given[1] <= entry.high:
        raise KnobError(
            f"bounds of knob '{entry.name}' = {given!r} must be [low, high] with {entry.low:g} <= low < high <= {entry.high:g}"
        )
    return float(given[0]), float(given[1])


def _rounded(value: float, low: float, high: float) -> float:
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)
