"""Tokens of a live iteration: what is kept from the last one is what would be written anew."""

from __future__ import annotations

import numpy as np

from andes_engine import counters as ct
from andes_engine.request_table import RequestTable
from andes_engine.token_feed import TokenFeed

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
