"""Tokens of a live iteration: what is kept from the last one is what would be written anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from andes_engine import counters as ct
from andes_engine.errors import AndesError
from andes_engine.object_fields import field_offsets
from andes_engine.request_table import RequestTable
from andes_engine.token_feed import TokenFeed
from andes_engine.vllm.tokens_out import Tokens, TokensOut

NOBODY = np.zeros(1)


def _table(names: list[str]) -> RequestTable:
    table = RequestTable()
    for place, name in enumerate(names):
        table.add(name, float(place), 8, 1.0, 0.2, 0)
    return table


def _emitted(table: RequestTable, name: str) -> int:
    return int(table.columns.emitted_tokens[table.row(name)])


def test_every_token_is_accounted_whatever_the_last_iteration_was() -> None:
    names = [f"r{place}" for place in range(700)]  # more than the first buffers and the first table hold
    table, counters = _table(names), np.zeros(ct.COUNTER_COUNT, dtype=np.int64)
    feed, rng, given = TokenFeed(table, False, counters), np.random.default_rng(0), dict.fromkeys(names, 0)
    for step in range(40):
        chosen = names if step % 3 else [str(name) for name in rng.permutation(names)[: rng.integers(1, 700)]]
        tokens = {name: 1 if step % 2 else int(rng.integers(1, 4)) for name in chosen}
        assert feed.take(tokens, 1.0 + step, NOBODY) == sum(tokens.values())
        for name, count in tokens.items():
            given[name] += count
    assert {name: _emitted(table, name) for name in names} == given
    assert counters[ct.DECODE_TOKENS] == sum(given.values())


def test_a_request_that_left_and_came_back_in_another_row_gets_its_own_tokens() -> None:
    table = _table(["a", "b"])
    feed = TokenFeed(table, False, np.zeros(ct.COUNTER_COUNT, dtype=np.int64))
    feed.take({"a": 1, "b": 1}, 1.0, NOBODY)
    rows = {name: table.row(name) for name in "ab"}
    for name in "ab":
        table.remove(name)
    for name in "ab":
        table.add(name, 2.0, 8, 1.0, 0.2, 0)
    assert rows != {name: table.row(name) for name in "ab"}
    feed.take({"a": 1, "b": 2}, 3.0, NOBODY)
    assert (_emitted(table, "a"), _emitted(table, "b")) == (1, 2)


@dataclass(slots=True)
class Elsewhere:
    """Has the fields in other places than `Tokens`."""

    other: str = ""
    new_token_ids: list[int] = field(default_factory=list)
    request_id: str = ""


@dataclass
class InDictionary:
    """Keeps its fields elsewhere."""

    request_id: str
    new_token_ids: list[int]


class Checking:
    """Cannot be made to try."""

    __slots__ = ("new_token_ids", "request_id")

    def __init__(self, request_id: str, new_token_ids: list[int]) -> None:
        self.request_id, self.new_token_ids = request_id.strip(), [*new_token_ids]


@pytest.mark.parametrize(
    ("kind", "is_read"), [(Elsewhere, True), (Tokens, True), (InDictionary, False), (Checking, False)]
)
def test_outputs_of_any_class_are_taken_and_those_without_a_token_passed_over(
    kind: Any, is_read: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert (field_offsets(kind, ("request_id", "new_token_ids")) is not None) == is_read
    names = [f"r{place}" for place in range(100)]
    table, counters = _table(names), np.zeros(ct.COUNTER_COUNT, dtype=np.int64)
    feed = TokenFeed(table, False, counters)
    for step in range(3):
        made = [kind(request_id=name, new_token_ids=[7] * ((place + step) % 3)) for place, name in enumerate(names)]
        assert feed.take(TokensOut([*made, kind(request_id="nobody", new_token_ids=[])]), 1.0, NOBODY) == sum(
            len(one.new_token_ids) for one in made
        )
    assert [_emitted(table, name) for name in names] == [3] * 100  # 0, 1 and 2 tokens, each once
    assert caplog.text.count("cannot be read in place") == (not is_read)  # once


def test_outputs_of_several_classes_are_taken_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    names = ["a", "b", "c"]
    table = _table(names)
    feed = TokenFeed(table, False, np.zeros(ct.COUNTER_COUNT, dtype=np.int64))
    mixed = [Elsewhere("", [1], "a"), Tokens("b", [1, 2]), InDictionary("c", [1, 2, 3])]
    for places in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        assert feed.take(TokensOut([mixed[place] for place in places]), 1.0, NOBODY) == 6
    assert [_emitted(table, name) for name in names] == [3, 6, 9]
    assert (
        caplog.text.count("cannot be read in place") == 1 and "['Elsewhere', 'InDictionary', 'Tokens']" in caplog.text
    )


def test_a_python_whose_objects_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("andes_engine.token_feed.field_offsets", lambda kind, names: None)
    feed = TokenFeed(_table(["a"]), False, np.zeros(ct.COUNTER_COUNT, dtype=np.int64))
    for tokens in ({"a": 1}, TokensOut([InDictionary("a", [1])])):
        with pytest.raises(AndesError, match="CPython"):
            feed.take(tokens, 1.0, NOBODY)


def test_who_got_tokens_and_is_not_known_is_an_error_and_nothing_is_accounted() -> None:
    table = _table(["a"])
    feed = TokenFeed(table, False, np.zeros(ct.COUNTER_COUNT, dtype=np.int64))
    with pytest.raises(KeyError, match="nobody"):
        feed.take(TokensOut([Tokens("a", [1]), Tokens("nobody", [1])]), 1.0, NOBODY)
    assert _emitted(table, "a") == 0
