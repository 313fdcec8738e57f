"""A GPU that vLLM believes in: the real server, engine core and scheduler, on a device that only takes its time.

    --distributed-executor-backend andes_engine.vllm.emulated.EmulatedExecutor
    --additional-config '{"andes": {"emulate": {"engine": "h100_llama3_8b"}}}'

Weights are never loaded; the model's folder only gives lengths and a tokenizer. Tokens are those of `FakeWorker`: the same
for the same prompt whatever is scheduled. Log-probabilities, grammars and LoRA are not emulated. Contract:
`vllm/v1/executor/abstract.py`, `vllm/v1/engine/core.py` (`step`, `step_with_batch_queue`), 0.32.0.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT
from vllm.v1.serial_utils import run_method
from vllm.v1.worker.worker_base import CompilationTimes

from andes_engine.errors import CapacityError
from andes_engine.vllm.device_clock import DeviceClock
from andes_engine.vllm.emulation import Emulation
from andes_engine.vllm.fake_worker import FakeWorker
from andes_engine.vllm.local_model import VOCABULARY_TOKENS
from andes_engine.vllm.section import andes_section
from andes_engine.vllm.step_load import step_load

logger = logging.getLogger(__name__)

LAYER = "emulated"


class EmulatedWorker:
    """What vLLM asks of a worker by name (`Executor.collective_rpc`), for one layer whose KV takes a byte or two a token."""

    def __init__(self, vllm_config: Any, emulation: Emulation) -> None:
        """Take the sizes; nothing is allocated before vLLM has decided on the KV cache."""
        self._vllm_config = vllm_config
        self._emulation = emulation
        self.runner: FakeWorker | None = None

    @property
    def _spec(self) -> FullAttentionSpec:
        block_size = self._vllm_config.cache_config.block_size
        return FullAttentionSpec(block_size=block_size, num_kv_heads=1, head_size=1, dtype=torch.float32)

    def get_kv_cache_spec(self) -> dict[str, FullAttentionSpec]:
        """One layer of ordinary attention."""
        return {LAYER: self._spec}

    def determine_available_memory(self) -> int:
        """Bytes for the KV cache of the emulated device, and for vLLM's null block."""
        spec = self._spec
        blocks = self._emulation.capacity_tokens // spec.block_size
        return (blocks + 1) * int(spec.page_size_bytes)

    def get_supported_tasks(self) -> tuple[str, ...]:
        """Text generation."""
        return ("generate",)

    def get_supported_kv_cache_layouts(self) -> list[str]:
        """Any would do."""
        return ["LBNHC"]

    def set_kv_cache_layout(self, layout_name: str) -> None:
        """Nothing is laid out."""

    def initialize_from_config(self, kv_cache_configs: list[Any]) -> None:
        """Make the cache that vLLM has decided on."""
        config, max_model_len = kv_cache_configs[0], self._vllm_config.model_config.max_model_len
        self.runner = FakeWorker(self._spec.block_size, config.num_blocks, max_model_len, strict=self._emulation.strict)

    def compile_or_warm_up_model(self) -> CompilationTimes:
        """Takes no time."""
        return CompilationTimes(0.0, 0.0)

    def update_max_model_len(self, max_model_len: int) -> None:
        """Read from the configuration when the cache is made."""

    def reset_mm_cache(self) -> None:
        """No images are kept."""

    def reset_encoder_cache(self) -> None:
        """Nothing is encoded."""

    def shutdown(self) -> None:
        """Nothing to free."""


class _Step(NamedTuple):
    scheduled: Any
    ends_at_s: float


class EmulatedExecutor(Executor):
    """Runs vLLM's steps on one emulated device."""

    clock: DeviceClock

    def _init_executor(self) -> None:
        emulation = Emulation.from_section(andes_section(self.vllm_config))
        _check(self.vllm_config)
        # Before the engine core chooses its loop and its scheduler; vLLM's CPU platform has switched it off.
        self.vllm_config.scheduler_config.async_scheduling = emulation.async_scheduling
        self._step_time = emulation.step_time
        self.clock = DeviceClock(self._step_time.host_s, real_time=emulation.real_time)
        self._worker = EmulatedWorker(self.vllm_config, emulation)
        self._unsampled: deque[_Step] = deque()
        logger.info("andes: emulating %s, %d tokens of KV cache", emulation.engine, emulation.capacity_tokens)

    def collective_rpc(
        self, method: Any, timeout: float | None = None, args: Any = (), kwargs: Any = None, non_block: bool = False
    ) -> Any:
        """Ask the one worker; what it does not have raises `NotImplementedError`."""
        answer = [run_method(self._worker, method, args, kwargs or {})]
        return _done(answer) if non_block else answer

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        """Start a step; its tokens are asked for with `sample_tokens`."""
        output = None
        if scheduler_output.total_num_scheduled_tokens > 0:
            ends_at_s = self.clock.begin(self._step_time(*step_load(scheduler_output)))
            self._unsampled.append(_Step(scheduler_output, ends_at_s))
        else:
            self._runner.execute(scheduler_output)  # nothing to compute, but requests to forget
            output = EMPTY_MODEL_RUNNER_OUTPUT
        return _done(output) if non_block else output

    def sample_tokens(self, grammar_output: Any, non_block: bool = False) -> Any:
        """Tokens of the step that was started last; the caller gets them when the device has finished."""
        step = self._unsampled.popleft()
        finished = _WhenFinished(self._runner.execute(step.scheduled), step.ends_at_s, self.clock)
        return finished if non_block else finished.result()

    @property
    def _runner(self) -> FakeWorker:
        assert self._worker.runner is not None, "vLLM initializes the KV cache before the first step"
        return self._worker.runner

    def check_health(self) -> None:
        """Always well."""

    @classmethod
    def supports_async_scheduling(cls) -> bool:
        """It does."""
        return True


class _WhenFinished(Future):
    """A step's output, not before the device has finished it."""

    def __init__(self, output: Any, ends_at_s: float, clock: DeviceClock) -> None:
        super().__init__()
        self._ends_at_s, self._clock = ends_at_s, clock
        self.set_result(output)

    def result(self, timeout: float | None = None) -> Any:
        self._clock.wait_until(self._ends_at_s)
        return super().result(timeout)


def _done(output: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(output)
    return future


def _check(vllm_config: Any) -> None:
    vocabulary = vllm_config.model_config.get_vocab_size()
    if vocabulary < VOCABULARY_TOKENS:
        raise CapacityError(
            f"the emulated device makes tokens below {VOCABULARY_TOKENS}, the model knows {vocabulary}; serve a model with a "
            "larger vocabulary"
        )
    world_size = vllm_config.parallel_config.world_size
    if world_size != 1:
        raise CapacityError(
            f"one emulated device, but {world_size} workers are asked for; leave out --tensor-parallel-size and "
            "--pipeline-parallel-size: a preset such as h100_llama3_70b_tp4 stands for all its devices"
        )
