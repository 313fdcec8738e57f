"""vLLM's requests and outputs by column, and views made up one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import RunningView
from andes_engine.vllm.running_views import RunningViews


def output(request_id: str, *tokens: int) -> Any:
    return SimpleNamespace(request_id=request_id, new_token_ids=[*tokens])


def test_tokens_out_are_those_of_all_clients_without_requests_that_got_none() -> None:
    of_clients = {0: [output("a", 7), output("b")], 3: [output("c", 8, 9)]}
    outputs = {client: SimpleNamespace(outputs=made) for client, made in of_clients.items()}
    assert adapter.tokens_out(outputs) == {"a": 1, "c": 2}
    assert adapter.tokens_out({0: SimpleNamespace(outputs=[output("a", 7)])}) == {"a": 1}
    assert adapter.tokens_out({}) == {}
    assert not adapter.tokens_out({0: SimpleNamespace(outputs=[output("b")])})


def test_blocks_held_are_those_of_all_kinds_of_layers() -> None:
    tables = {"a": [1, 2], "b": [3]}, {"a": [4]}
    groups = [SimpleNamespace(req_to_blocks=table) for table in tables]
    scheduler = SimpleNamespace(
        kv_cache_manager=SimpleNamespace(coordinator=SimpleNamespace(single_type_managers=groups))
    )
    requests = [SimpleNamespace(request_id=name) for name in ("b", "a", "gone")]
    assert adapter.held_blocks(scheduler, requests, np.zeros(3, np.int64)).tolist() == [1, 3, 0]
    assert adapter.held_blocks(scheduler, [], np.zeros(0, np.int64)).tolist() == []


def test_views_of_one_request_each_are_the_same_by_column() -> None:
    views = [RunningView("a", 5, 1, True), RunningView("b", 9, 2, False)]
    by_column = RunningViews.of(views)
    assert [*by_column] == views and all(type(view.computed_tokens) is int for view in by_column)
    assert np.array_equal(by_column.held_blocks, [1, 2])
    assert len(RunningViews.of([])) == 0
