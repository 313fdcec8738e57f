from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from agents.schema import ConfigError, from_mapping
from andes_engine.errors import UnknownNameError


@dataclass(frozen=True)
class Inner:
    size: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner
    name: str = "x"
    bounds: tuple[float, float] = (0.0, 1.0)
    sizes: tuple[int, ...] = ()
    more: Mapping[str, Inner] = field(default_factory=dict)
    limit: float | None = None
    on: bool = True
    who: str | tuple[str, ...] | None = None


def test_nested_values_become_dataclasses_tuples_and_floats() -> None:
    given = {"inner": {"size": 3, "share": 1}, "bounds": [1, 2], "sizes": [4], "more": {"a": {"size": 1}}, "limit": 7}
    made = from_mapping(Outer, given)
    assert made == Outer(Inner(3, 1.0), bounds=(1.0, 2.0), sizes=(4,), more={"a": Inner(1)}, limit=7.0)
    assert isinstance(made.inner.share, float) and isinstance(made.limit, float)


@pytest.mark.parametrize(("given", "made"), [("a", "a"), (["a", "b"], ("a", "b")), (None, None)])
def test_one_or_several(given: object, made: object) -> None:
    assert from_mapping(Outer, {"inner": {"size": 1}, "who": given}).who == made


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner": {"size": 1}, "nme": "y"}, "unknown setting of the configuration 'nme'. Did you mean 'name'"),
        ({"inner": {"sise": 1}}, "unknown setting of inner 'sise'. Did you mean 'size'"),
        ({"inner": {"size": 1}, "more": {"a": {"shape": 1}}}, "unknown setting of more.a 'shape'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(given: dict, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        from_mapping(Outer, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "inner is missing"),
        ({"inner": {}}, "inner.size is missing"),
        ({"inner": {"size": "3"}}, r"inner.size = '3' must be a whole number"),
        ({"inner": {"size": 3.0}}, "inner.size = 3.0 must be a whole number"),
        ({"inner": {"size": True}}, "inner.size = True must be a whole number"),
        ({"inner": {"size": 1}, "on": 1}, "on = 1 must be true or false"),
        ({"inner": {"size": 1}, "limit": "a"}, "limit = 'a' must be a number"),
        ({"inner": {"size": 1}, "bounds": [1.0]}, "bounds = .* must have 2 entries"),
        ({"inner": {"size": 1}, "sizes": 3}, r"sizes = 3 must be a list, such as \[a,b\]"),
        ({"inner": {"size": 1}, "who": 3}, "who = 3 must be text"),
        ({"inner": {"size": 1}, "who": ["a", 3]}, r"who\[1\] = 3 must be text"),
        ({"inner": {"size": 1}, "more": [1]}, "more = .* must be a mapping"),
        ({"inner": "small"}, "inner = 'small' must be a group of settings; choose a file with GROUP@inner=NAME"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, given)
