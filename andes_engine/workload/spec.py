"""Workload specifications from configuration: names and plain mappings, as Hydra and JSON give them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from andes_engine.errors import InvalidWorkloadError, UnknownNameError, check_known
from andes_engine.workload.arrivals import ARRIVALS, ArrivalProcess
from andes_engine.workload.lengths import LENGTHS, Lengths, LogNormal, LogNormalLengths, MixedLengths
from andes_engine.workload.multi_round import MultiRound
from andes_engine.workload.readers import READERS, TTFT, Patience, ReaderMix, TtftExpectation
from andes_engine.workload.traffic import Segment, WorkloadSpec
from andes_engine.workload.users import Users

Made = TypeVar("Made")


def workload_spec(given: str | Mapping[str, Any] | WorkloadSpec) -> WorkloadSpec:
    """A specification from the name of a length family, or from a mapping of the fields of `WorkloadSpec`.

    Each part is a registered name or a mapping of its own fields, and a number where one number says it all:

        workload_spec("sharegpt")
        workload_spec({"lengths": "azure_conv", "arrivals": {"kind": "cyclic_burst", "intensity": 2.4}, "load": 0.9})
        workload_spec({"lengths": {"prompt": {"mean": 500, "std": 100}, "output": {"mean": 50, "std": 50}},
                       "arrivals": "poisson", "readers": 0.2, "ttft": "prompt", "requests": 2000, "rate": 3.0})

        workload_spec({"lengths": "sharegpt", "users": {"count": 20, "skew": 1.2}, "patience": 60.0,
                       "multi_round": {"mean_rounds": 3, "think_s": 20.0}, "load": 0.9})

        workload_spec({"lengths": "sharegpt", "load": 0.9, "segments": [{"share": 3}, {"share": 1, "load_factor": 3.0},
                       {"share": 2, "lengths": {"mix": {"sharegpt": 0.8, "arxiv": 0.2}}, "readers": "listening"}]})

    Fields left out, or null, take their default: Poisson arrivals, the reading mix, first token expected after 1 s, one
    user, readers who stay, single turns, no segments. A segment says how it differs, in the same words.

    Raises:
        UnknownNameError: If a name or a field does not exist; the message lists those that do.
        InvalidWorkloadError: If a value is out of range.
    """
    if isinstance(given, WorkloadSpec):
        return given
    fields = {"lengths": given} if isinstance(given, str) else {k: v for k, v in given.items() if v is not None}
    known = WorkloadSpec.__dataclass_fields__
    check_known("workload field", fields, known)
    if "lengths" not in fields:
        raise InvalidWorkloadError(f"a workload needs 'lengths': one of {', '.join(sorted(LENGTHS))}, or a mapping")
    lengths = fields["lengths"]
    parts = {key: make(fields.pop(key)) for key, make in _PARTS.items() if key in fields}
    defaults = {"name": lengths if isinstance(lengths, str) else "custom", "arrivals": ARRIVALS["poisson"]()}
    return WorkloadSpec(**{**defaults, **fields, **parts})


def _arrivals(given: Any) -> ArrivalProcess:
    if isinstance(given, ArrivalProcess):
        return given
    fields = {"kind": given} if isinstance(given, str) else dict(given)
    kind = str(fields.pop("kind", ""))
    if kind not in ARRIVALS:
        raise UnknownNameError("arrival process", kind, ARRIVALS)
    return _make(ARRIVALS[kind], fields, kind)


def _lengths(given: Any) -> Lengths:
    if isinstance(given, str):
        return _named(LENGTHS, given, "length family")
    if not isinstance(given, Mapping):
        return given
    if "mix" in given:
        return _make(_mixed, given, "lengths")
    moments = {k: _make(LogNormal, given[k], k) for k in ("prompt", "output") if isinstance(given.get(k), Mapping)}
    return _make(LogNormalLengths, {**given, **moments}, "lengths")


def _mixed(mix: Any) -> MixedLengths:
    if not isinstance(mix, Mapping):
        raise InvalidWorkloadError(f"lengths: mix = {mix!r} must be a mapping of length families to shares")
    kinds = tuple(_named(LENGTHS, str(name), "length family") for name in mix)
    return MixedLengths(kinds, tuple(_number(share, f"lengths: mix.{name}") for name, share in mix.items()))


def _segments(given: Any) -> tuple[Segment, ...]:
    if not isinstance(given, list | tuple):
        raise InvalidWorkloadError(
            f"segments = {given!r} must be a list of mappings, such as [{{share: 1}}, {{share: 2}}]"
        )
    return tuple(_segment(one, f"segments[{place}]") for place, one in enumerate(given))


def _segment(given: Any, where: str) -> Segment:
    if isinstance(given, Segment):
        return given
    if not isinstance(given, Mapping):
        raise InvalidWorkloadError(
            f"{where} = {given!r} must be a mapping of {', '.join(Segment.__dataclass_fields__)}"
        )
    changes = {key: value for key, value in given.items() if value is not None}
    numbers = {key: _number(changes[key], f"{where}: {key}") for key in ("share", "load_factor") if key in changes}
    parts = {key: make(changes[key]) for key, make in _SEGMENT_PARTS.items() if key in changes}
    return _make(Segment, {**changes, **numbers, **parts}, where)


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidWorkloadError(f"{what} = {given!r} must be a number")
    return float(given)


def _readers(given: Any) -> ReaderMix:
    if isinstance(given, str):
        return _named(READERS, given, "reader mix")
    if isinstance(given, (int, float)):
        return ReaderMix((given,))
    return _make(ReaderMix, given, "readers") if isinstance(given, Mapping) else given


def _ttft(given: Any) -> TtftExpectation:
    if isinstance(given, str):
        return _named(TTFT, given, "ttft expectation")
    if isinstance(given, (int, float)):
        return TtftExpectation(given)
    return _make(TtftExpectation, given, "ttft") if isinstance(given, Mapping) else given


def _part(kind: type[Made], given: Any, what: str) -> Made:
    """A part that one number, its first field, may say."""
    if isinstance(given, kind):
        return given
    if isinstance(given, Mapping):
        return _make(kind, given, what)
    known = ", ".join(inspect.signature(kind).parameters)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise InvalidWorkloadError(
            f"{what} = {given!r} must be a number ({known.split(',')[0]}) or a mapping of {known}"
        )
    return kind(given)  # type: ignore[call-arg]


_SEGMENT_PARTS: dict[str, Callable[[Any], Any]] = {
    "arrivals": _arrivals,
    "lengths": _lengths,
    "readers": _readers,
    "ttft": _ttft,
}

_PARTS: dict[str, Callable[[Any], Any]] = {
    **_SEGMENT_PARTS,
    "segments": _segments,
    "users": lambda given: _part(Users, given, "users"),
    "patience": lambda given: _part(Patience, given, "patience"),
    "multi_round": lambda given: _part(MultiRound, given, "multi_round"),
}


def _named(registry: Mapping[str, Made], name: str, what: str) -> Made:
    if name not in registry:
        raise UnknownNameError(what, name, registry)
    return registry[name]


def _make(kind: Callable[..., Made], fields: Mapping[str, Any], what: str) -> Made:
    known = inspect.signature(kind).parameters
    check_known(f"field of {what}", fields, known)
    missing = [key for key, entry in known.items() if entry.default is entry.empty and key not in fields]
    if missing:
        raise InvalidWorkloadError(f"{what} needs {' and '.join(missing)}")
    return kind(**fields)


def reader_mix(given: str | float | Mapping[str, Any] | ReaderMix) -> ReaderMix:
    """Readers from a registered name, one pace in s per token, or the fields of `ReaderMix`."""
    return _readers(given)


def ttft_expectation(given: str | float | Mapping[str, Any] | TtftExpectation) -> TtftExpectation:
    """TTFT expectation from a registered name, a number of seconds, or the fields of `TtftExpectation`."""
    return _ttft(given)


def users_of(given: int | Mapping[str, Any] | Users | None) -> Users | None:
    """Users from their number or the fields of `Users`."""
    return None if given is None else _part(Users, given, "users")


def patience_of(given: float | Mapping[str, Any] | Patience | None) -> Patience | None:
    """Patience from its mean in s or the fields of `Patience`."""
    return None if given is None else _part(Patience, given, "patience")
