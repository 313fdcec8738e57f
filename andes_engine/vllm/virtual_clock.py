"""vLLM's own scheduler and KV manager on a virtual clock: real decisions, invented tokens, predicted step times.

Built by hand from vLLM's parts as its own tests do (`tests/v1/core/utils.py`), 0.32.0. Deterministic: the same
requests, planner and step-time model give the same decisions and times.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig, SchedulerKind, StepSample, check_keeps
from andes_engine.vllm.episode_engine import EpisodeEngine
from andes_engine.vllm.fake_worker import FakeWorker
from andes_engine.vllm.local_model import ModelShape, build_local_model, models_folder
from andes_engine.vllm.step_load import step_load

StepTimeModel = Callable[[int, int, int, int, int], float]
"""What `StepLoad` holds, in its order -> s; `andes_engine.step_time.StepTime` is one."""


class VirtualEngine(EpisodeEngine):
    """An engine of vLLM parts whose steps take the time that a model says.

    With `pipelined`, vLLM's asynchronous scheduler plans each step before the output of the last one is known, as on a GPU.
    """

    def __init__(
        self,
        config: LiveConfig,
        step_time: StepTimeModel,
        scheduler: SchedulerKind = "andes",
        *,
        pipelined: bool = False,
        strict: bool = True,
        host_copy_s_per_block: float = 0.0,
    ) -> None:
        """Build the vLLM configuration once; each episode gets a fresh scheduler.

        Args:
            config: Size of the engine; hidden size and layers do not matter here.
            step_time: Predicts each step's duration.
            scheduler: vLLM's own class, or ours with a replaceable planner.
            pipelined: Schedule one step ahead of the output, with the asynchronous scheduler.
            strict: Check every token's KV cache (see `FakeWorker`).
            host_copy_s_per_block: Time to copy a block to host memory or back, s; it is part of the step.
        """
        super().__init__(config, scheduler)
        adapter.require_vllm()
        check_keeps(config, scheduler)
        self._step_time = step_time
        self._pipelined = pipelined
        self._strict = strict
        self._host_copy_s_per_block = host_copy_s_per_block
        self.on_scheduled: Callable[[StepSample, Any], None] | None = None
        """Called with each step and vLLM's `SchedulerOutput`, for whoever compares decisions."""
        self._vllm_config = _vllm_config(config, pipelined)
        self._hasher = _block_hasher(self._vllm_config)
        self._clear()

    @property
    def now_s(self) -> float:
        """Virtual seconds since the episode began."""
        return self._now_s

    @property
    def _scheduler(self) -> Any:
        return self._vllm_scheduler

    def _clear(self) -> None:
        self._now_s = 0.0
        self._in_flight: deque[tuple[Any, Any]] = deque()
        self._worker = FakeWorker(
            self.config.block_size,
            self.config.kv_blocks,
            self.config.max_model_len,
            host_kv_blocks=self.config.host_kv_blocks,
            host_copy_s_per_block=self._host_copy_s_per_block,
            strict=self._strict,
        )
        self._vllm_scheduler = self._build_scheduler()
        if self.scheduler_kind == "andes":
            self._vllm_scheduler.clock = lambda: self._now_s
            self._vllm_scheduler.arrival_of = lambda request: request.arrival_time
            self._vllm_scheduler.set_planner(self._planner)

    def _build_scheduler(self) -> Any:
        from vllm.v1.structured_output import StructuredOutputManager

        return self._scheduler_class()(
            vllm_config=self._vllm_config,
            kv_cache_config=_kv_cache_config(self.config),
            structured_output_manager=StructuredOutputManager(self._vllm_config),
            block_size=self.config.block_size,
        )

    def _scheduler_class(self) -> Any:
        if self.scheduler_kind == "stock":
            return self._vllm_config.scheduler_config.get_scheduler_cls()
        from andes_engine.vllm.scheduler import AndesScheduler

        return AndesScheduler

    def _submit(self, request: EpisodeRequest) -> None:
        from vllm import SamplingParams
        from vllm.v1.request import Request

        params = SamplingParams(
            max_tokens=request.output_tokens, ignore_eos=True, temperature=0.0, extra_args=request.extra_args
        )
        self._vllm_scheduler.add_request(
            Request(
                request_id=request.request_id,
                prompt_token_ids=request.prompt_ids(self.config.seed),
                sampling_params=params,
                pooling_params=None,
                arrival_time=request.arrival_s,
                block_hasher=self._hasher,
            )
        )

    def _abort(self, request_ids: list[str]) -> None:
        from vllm.v1.request import RequestStatus

        self._vllm_scheduler.finish_requests(request_ids, RequestStatus.FINISHED_ABORTED)

    def _busy(self) -> bool:
        return bool(self._in_flight) or self._vllm_scheduler.has_unfinished_requests()

    def _wait_until(self, time_s: float) -> None:
        self._now_s = time_s

    def _step(self) -> StepSample | None:
        start_s = self._now_s
        if not self._in_flight or self._vllm_scheduler.has_unfinished_requests():
            self._launch()
        if self._pipelined and len(self._in_flight) < 2 and self._vllm_scheduler.has_unfinished_requests():
            self._launch()  # the asynchronous engine plans ahead before it waits for output
        return self._collect(start_s)

    def _launch(self) -> None:
        output = self._vllm_scheduler.schedule()
        for request_id in output.preempted_req_ids or ():
            self.record.preemptions[request_id] += 1
        self._in_flight.append((output, self._worker.execute(output)))

    def _collect(self, start_s: float) -> StepSample | None:
        scheduled, computed = self._in_flight.popleft()
        load = step_load(scheduled)
        busy = scheduled.total_num_scheduled_tokens > 0
        duration_s = self._step_time(*load) if busy else 0.0
        duration_s += adapter.copied_blocks(scheduled) * self._host_copy_s_per_block
        self._now_s += duration_s
        self._record(self._vllm_scheduler.update_from_output(scheduled, computed))
        if not busy:
            return None
        sample = StepSample(start_s, duration_s, *load)
        if self.on_scheduled is not None:
            self.on_scheduled(sample, scheduled)
        return sample

    def _record(self, outputs: dict[int, Any]) -> None:
        for client_outputs in outputs.values():
            for output in client_outputs.outputs:
                self.record.emit(output.request_id, output.new_token_ids, self._now_s)
                if output.finish_reason is not None:
                    self._unfinished.discard(output.request_id)


def _vllm_config(config: LiveConfig, pipelined: bool) -> Any:
    from vllm.engine.arg_utils import EngineArgs

    # The tier only needs the lengths of the configuration, never the weights, so the smallest shape will do.
    folder = build_local_model(
        models_folder(),
        ModelShape(hidden=64, layers=1, heads=1, max_position_tokens=max(config.max_model_len, 4096)),
    )
    vllm_config = EngineArgs(
        model=str(folder),
        skip_tokenizer_init=True,
        load_format="dummy",
        **{**config.engine_arguments(), "dtype": "float32", "enforce_eager": True},
        kv_transfer_config=adapter.kv_transfer_config(config.host_kv_blocks),
        additional_config={"andes": {"enabled": False}},
    ).create_engine_config()
    vllm_config.cache_config.num_gpu_blocks = config.kv_blocks
    vllm_config.scheduler_config.async_scheduling = pipelined  # the CPU platform had switched it off
    return vllm_config


def _kv_cache_config(config: LiveConfig) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

    spec = FullAttentionSpec(block_size=config.block_size, num_kv_heads=1, head_size=1, dtype=torch.float32)
    return KVCacheConfig(
        num_blocks=config.kv_blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)]
    )


def _block_hasher(vllm_config: Any) -> Any:
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash

    cache = vllm_config.cache_config
    if not cache.enable_prefix_caching:
        return None
    hash_function = get_hash_fn_by_name(cache.prefix_caching_hash_algo)
    init_none_hash(hash_function)
    return get_request_block_hasher(cache.block_size, hash_function)
