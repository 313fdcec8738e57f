"""Plain mappings, as Hydra and JSON give them, into dataclasses: unknown keys and wrong types are refused by name."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from andes_engine.errors import AndesError, check_known

Made = TypeVar("Made")


class ConfigError(AndesError):
    """A configuration value of the wrong kind, or one that is missing."""


def check_positive(settings: Any, *names: str) -> None:
    """Refuse, by name, what is not a finite number above 0.

    Raises:
        ConfigError: If one of these attributes is none.
    """
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0.0):
            raise ConfigError(f"{name} = {value} must be finite and > 0")


class SettingError(ConfigError):
    """A group of settings that its dataclass refuses.

    Args:
        where: Dotted path of the group, such as `contenders.mine`.
        reason: What the dataclass said.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


def from_mapping(kind: type[Made], given: Mapping[str, Any], where: str = "") -> Made:
    """Build a dataclass, and the dataclasses inside it.

    Args:
        kind: The dataclass; nested dataclasses, `X | None`, `tuple[X, ...]`, `X | tuple[X, ...]` and `Mapping[str, X]` are
            followed.
        given: Values by field name.
        where: Dotted path for messages.

    Raises:
        UnknownNameError: If a key is no field; the message names the nearest one.
        ConfigError: If a field is missing or a value is of the wrong kind.
        SettingError: If a dataclass below the top refuses its values.
    """
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    check_known(f"setting of {where or 'the configuration'}", given, known)
    for name, entry in known.items():
        if name not in given and _is_required(entry):
            raise ConfigError(f"{_path(where, name)} is missing; give it a value")
    hints = get_type_hints(kind)
    values = {name: _value(hints[name], value, _path(where, name)) for name, value in given.items()}
    try:
        made = kind(**values)
    except AndesError as error:
        raise SettingError(where, str(error)) if where else error from None
    for name in values:
        if is_dataclass(hints[name]) and not is_dataclass(getattr(made, name)):  # a dataclass may look names up itself
            path = _path(where, name)
            raise ConfigError(
                f"{path} = {given[name]!r} must be a group of settings; choose a file with GROUP@{path}=NAME"
            )
    return made


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(hint: Any, given: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(inner, given, where)
    if origin is tuple:
        return _tuple(inner, given, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(given, Mapping):
            raise ConfigError(f"{where} = {given!r} must be a mapping of names to values")
        return {str(key): _value(inner[1], value, _path(where, str(key))) for key, value in given.items()}
    if is_dataclass(hint) and isinstance(given, Mapping):
        return from_mapping(hint, given, where)  # type: ignore[arg-type]
    return _scalar(hint, given, where)


def _union(choices: tuple[Any, ...], given: Any, where: str) -> Any:
    if given is None and type(None) in choices:
        return None
    rest = [choice for choice in choices if choice is not type(None)]
    listed = isinstance(given, list | tuple)
    rest = [choice for choice in rest if (get_origin(choice) is tuple) == listed] or rest
    return _value(rest[0], given, where) if len(rest) == 1 else given


def _tuple(inner: tuple[Any, ...], given: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"{where} = {given!r} must be a list, such as [a,b]")
    if inner[-1] is Ellipsis:
        return tuple(_value(inner[0], value, f"{where}[{place}]") for place, value in enumerate(given))
    if len(given) != len(inner):
        raise ConfigError(f"{where} = {list(given)} must have {len(inner)} entries")
    return tuple(_value(hint, value, where) for hint, value in zip(inner, given, strict=True))


def _scalar(hint: Any, given: Any, where: str) -> Any:
    if hint is float and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    if hint in (int, float, str, bool) and (not isinstance(given, hint) or (hint is int and isinstance(given, bool))):
        raise ConfigError(f"{where} = {given!r} must be {_ARTICLE[hint]}")
    return given


_ARTICLE = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
