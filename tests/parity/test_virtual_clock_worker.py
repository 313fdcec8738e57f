"""The fake worker is an oracle only if it really notices wrong orders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from andes_engine.vllm.fake_worker import FakeWorker, WorkerViolationError
from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM


def step(scheduled: dict[str, int], new: list[Any] = [], cached: list[tuple[str, list[int], int]] = []) -> Any:  # noqa: B006
    return SimpleNamespace(
        finished_req_ids=set(),
        num_scheduled_tokens=scheduled,
        kv_connector_metadata=None,
        scheduled_new_reqs=new,
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[i for i, _, _ in cached],
            resumed_req_ids=set(),
            new_block_ids=[(blocks,) if blocks else None for _, blocks, _ in cached],
            num_computed_tokens=[computed for _, _, computed in cached],
        ),
    )


def new(request_id: str, tokens: int, blocks: list[int], computed: int = 0, first: int = 100) -> Any:
    prompt_ids = list(range(first, first + tokens))
    return SimpleNamespace(
        req_id=request_id, prompt_token_ids=prompt_ids, block_ids=(blocks,), num_computed_tokens=computed
    )


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker(block_size=4, kv_blocks=8, max_model_len=32)


def test_a_prompt_in_two_chunks_then_a_decode(worker: FakeWorker) -> None:
    assert worker.execute(step({"a": 4}, [new("a", 6, [1, 2])])).sampled_token_ids == [[]]
    assert len(worker.execute(step({"a": 2}, cached=[("a", [], 4)])).sampled_token_ids[0]) == 1
    assert len(worker.execute(step({"a": 1}, cached=[("a", [], 6)])).sampled_token_ids[0]) == 1


def test_a_stolen_block_is_noticed(worker: FakeWorker) -> None:
    worker.execute(step({"a": 6}, [new("a", 6, [1, 2])]))
    worker.execute(step({"b": 3}, [new("b", 3, [1], first=500)]))
    with pytest.raises(WorkerViolationError, match="position 0 of 7 is not in the cache"):
        worker.execute(step({"a": 1}, cached=[("a", [], 6)]))


def test_a_claimed_prefix_that_is_not_cached_is_noticed(worker: FakeWorker) -> None:
    with pytest.raises(WorkerViolationError, match="position 0 of 6 is not in the cache"):
        worker.execute(step({"a": 2}, [new("a", 6, [1, 2], computed=4)]))


def test_tokens_beyond_the_blocks_are_noticed(worker: FakeWorker) -> None:
    with pytest.raises(WorkerViolationError, match="need more than its 1 blocks"):
        worker.execute(step({"a": 6}, [new("a", 6, [1])]))


def test_tokens_that_do_not_exist_yet_are_noticed(worker: FakeWorker) -> None:
    with pytest.raises(WorkerViolationError, match="up to 7 of 6 known"):
        worker.execute(step({"a": 7}, [new("a", 6, [1, 2])]))


def test_an_unknown_request_is_noticed(worker: FakeWorker) -> None:
    with pytest.raises(WorkerViolationError, match="never saw it"):
        worker.execute(step({"ghost": 1}, cached=[("ghost", [], 3)]))
