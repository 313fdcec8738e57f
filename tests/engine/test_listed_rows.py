"""Rows are found by objects as a dictionary finds them by names, whoever comes and goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from andes_engine.errors import AndesError
from andes_engine.listed_rows import COUNT, find_rows
from andes_engine.live_look import LiveLook
from andes_engine.request_table import RequestTable
from andes_engine.vllm.contract import RunningView, WaitingView
from andes_engine.vllm.running_views import RunningViews, Since
from andes_engine.vllm.waiting_views import WaitingViews


def name_of(number: int) -> str:
    """A new string each time, as one that came over a network."""
    return "".join(["request-", str(number)])


def found(table: RequestTable, objects: list[Any]) -> list[int]:
    listed = table.names.show(objects)
    find_rows.py_func(listed, table.rows)
    return listed.rows[: len(objects)].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_names_that_come_and_go_are_found(seed: int) -> None:
    draw, table = np.random.default_rng(seed), RequestTable(4)
    live: list[str] = []
    for number in range(600):
        if live and draw.random() < 0.45:
            table.remove(live.pop(int(draw.integers(len(live)))))
        else:
            live.append(name_of(number))
            table.add(live[-1], 0.0, 10, 1.0, 0.1)
        shown = [live[place] for place in draw.permutation(len(live))[:20]]
        rows = found(table, shown)
        if table.names.missing:  # the table has grown, and nothing of before is known
            table.names.learn(shown, shown)
            rows = found(table, shown)
        assert rows == [table.row(name) for name in shown]


def test_an_equal_name_is_another_object_and_is_learned() -> None:
    table = RequestTable()
    table.add(name_of(1), 0.0, 10, 1.0, 0.1)
    equal = [name_of(1)]
    assert found(table, equal) == [-1] and table.names.missing == 1
    table.names.learn(equal, equal)
    assert found(table, equal) == [table.row("request-1")]
    with pytest.raises(KeyError, match="request-2"):
        found(table, unknown := [name_of(2)])
        table.names.learn(unknown, unknown)


def test_a_request_that_is_listed_twice_is_refused() -> None:
    table = RequestTable()
    table.add(name_of(1), 0.0, 10, 1.0, 0.1)
    twice = [WaitingView(name_of(1), True), WaitingView(name_of(1), True)]
    with pytest.raises(AndesError, match="2 requests has one of them twice"):
        LiveLook(table).note(running([], 0), WaitingViews.of(twice))


def running(names: list[str], computed: int) -> RunningViews:
    return RunningViews.of([RunningView(name, computed, 1, True) for name in names])


def test_who_was_not_in_the_last_look_is_asked() -> None:
    """An engine that says that all computed one more is not believed of somebody new."""
    table = RequestTable()
    for number in range(3):
        table.add(name_of(number), 0.0, 10, 1.0, 0.1)
    names, nobody, look = ["request-0", "request-1"], WaitingViews.of([]), LiveLook(table)
    first = running(names, 40)
    first.number = 1
    look.note(first, nobody)
    second = running([*names, "request-2"], 41)
    second.number, second.since = 2, Since([], 16)
    look.note(second, nobody)
    rows, _ = look.rows()
    assert table.columns.computed_tokens[rows].tolist() == [41, 41, 41]
    assert table.columns.held_blocks[rows].tolist() == [1, 1, 1]  # as they are shown, not what the tokens fill
    third = running([*names, "request-2"], 0)
    third.number, third.since = 3, Since([(third.objects[0], "request-0", 90)], 16)
    look.note(third, nobody)
    assert table.columns.computed_tokens[look.rows()[0]].tolist() == [90, 42, 42]
    assert table.columns.held_blocks[look.rows()[0]].tolist() == [6, 3, 3]


def test_those_that_may_not_be_admitted_are_left_out_of_one_look() -> None:
    table = RequestTable()
    for number in range(5):
        table.add(name_of(number), 0.0, 10, 1.0, 0.1)
    look, names = LiveLook(table), [name_of(number) for number in range(5)]
    views = [WaitingView(name, name not in ("request-0", "request-3"), 16, 0) for name in names]
    look.note(running([], 0), WaitingViews.of(views))
    assert table.names_of(look.rows()[1]) == ["request-1", "request-2", "request-4"]
    assert look.waiting.what[COUNT] == 3
    look.note(running([], 0), WaitingViews.of([view._replace(admissible=True) for view in views]))
    assert table.names_of(look.rows()[1]) == names
    assert table.columns.cached_tokens[look.rows()[1]].tolist() == [16] * 5
