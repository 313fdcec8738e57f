"""Real vLLM on an emulated device, in virtual time: whole and the same tokens, asynchronously scheduled or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from andes_engine.vllm import adapter
from andes_engine.vllm.episode import EpisodeRequest
from andes_engine.vllm.live_engine import ENVIRONMENT
from andes_engine.vllm.local_model import ModelShape, build_local_model
from tests.live.stubs import NEEDS_VLLM, RandomPlanner, overload

pytestmark = NEEDS_VLLM

REQUESTS = overload(40, rate=200.0, mean_tokens=60)
LENGTHS = {request.request_id: request.output_tokens for request in REQUESTS}
MAX_MODEL_LEN = 1280
H100 = {"engine": "h100_llama3_8b", "kv_tokens": 1600, "real_time": False, "strict": True}


class Emulated:
    """vLLM's engine in this process, on the device's own clock."""

    def __init__(self, models: Path, scheduler_cls: str | None, **emulate: object) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        adapter.make_llvmlite_scannable()
        shape = ModelShape(hidden=64, layers=1, heads=1, max_position_tokens=MAX_MODEL_LEN)
        arguments = EngineArgs(
            model=str(build_local_model(models, shape)),
            skip_tokenizer_init=True,
            load_format="dummy",
            max_model_len=MAX_MODEL_LEN,
            max_num_batched_tokens=512,
            block_size=16,
            enforce_eager=True,
            disable_log_stats=True,
            distributed_executor_backend="andes_engine.vllm.emulated.EmulatedExecutor",
            scheduler_cls=scheduler_cls,
            additional_config={"andes": {"enabled": False, "emulate": {**H100, **emulate}}},
        )
        self.engine = LLMEngine.from_engine_args(arguments)
        self.scheduler: Any = adapter.inprocess_scheduler(self.engine)
        self.clock = self.engine.engine_core.engine_core.model_executor.clock
        self.scheduler.clock = lambda: self.clock.now_s

    def replay(self, requests: list[EpisodeRequest]) -> dict[str, list[int]]:
        """All at once; the tokens of each."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        tokens: dict[str, list[int]] = {request.request_id: [] for request in requests}
        for request in requests:
            params = SamplingParams(
                max_tokens=request.output_tokens,
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
                extra_args=request.extra_args,
            )
            self.engine.add_request(request.request_id, {"prompt_token_ids": request.prompt_ids(0)}, params)
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                tokens[output.request_id] += output.outputs[0].token_ids
        return tokens

    @property
    def whole_pool_is_free(self) -> bool:
        pool = self.scheduler.kv_cache_manager.block_pool
        return bool(pool.get_num_free_blocks() == pool.num_gpu_blocks - 1)


@pytest.fixture(scope="module", params=[True, False], ids=["async", "sync"])
def emulated(request: pytest.FixtureRequest, model_dir: Path) -> Iterator[Emulated]:
    engine = Emulated(model_dir, "andes_engine.vllm.AndesScheduler", async_scheduling=request.param)
    yield engine
    engine.engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def stock_tokens(model_dir: Path) -> dict[str, list[int]]:
    """Of vLLM's own scheduler."""
    engine = Emulated(model_dir, None, async_scheduling=False)
    tokens = engine.replay(REQUESTS)
    engine.engine.engine_core.shutdown()
    return tokens


def test_the_scheduler_is_the_one_that_a_gpu_would_have(emulated: Emulated) -> None:
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler

    asynchronous = emulated.engine.vllm_config.scheduler_config.async_scheduling
    assert isinstance(emulated.scheduler, AsyncScheduler) == asynchronous
    assert emulated.scheduler.kv_cache_manager.block_pool.num_gpu_blocks - 1 == H100["kv_tokens"] // 16  # type: ignore[operator]


@pytest.mark.parametrize("planner", [None, RandomPlanner(1), RandomPlanner(2)], ids=["stock", "random 1", "random 2"])
def test_tokens_are_whole_and_the_same_whatever_is_planned(
    emulated: Emulated, stock_tokens: dict[str, list[int]], planner: RandomPlanner | None
) -> None:
    emulated.scheduler.set_planner(planner)
    before_s = emulated.clock.now_s
    tokens = emulated.replay(REQUESTS)
    emulated.scheduler.set_planner(None)
    assert {request_id: len(ids) for request_id, ids in tokens.items()} == LENGTHS
    assert tokens == stock_tokens
    assert emulated.whole_pool_is_free
    assert emulated.clock.now_s > before_s + 0.0069 * max(LENGTHS.values())  # a step has its time, without waiting
    if planner is not None:
        assert planner.preemptions > 10 and planner.known == {}


def test_what_the_device_lacks_is_said(model_dir: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'kv_tokens'"):
        Emulated(model_dir, None, kv_token=5)
