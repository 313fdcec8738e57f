"""A live vLLM engine inside this process: real model, real scheduler, real time.

Boots in 2 to 7 s, so planners are swapped on a running engine between episodes. Uses `LLMEngine`
(`vllm/v1/engine/llm_engine.py`, 0.32.0).
"""

import os
import time
from pathlib import Path
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import HostRoom
from andes_engine.vllm.emulation import EXECUTOR, Emulation
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig, SchedulerKind, StepSample, check_keeps
from andes_engine.vllm.episode_engine import EpisodeEngine
from andes_engine.vllm.local_model import build_local_model, load_format, models_folder
from andes_engine.vllm.step_load import StepLoad, step_load

SMALL_ENGINE = {
    "OMP_NUM_THREADS": "1",  # one thread without binding is far steadier than several on shared cores
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
"""How an engine of a made-up model runs, in whatever process."""

ENVIRONMENT = {
    **SMALL_ENGINE,
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # engine core in this process, so that the scheduler can be reached
    "VLLM_LOGGING_LEVEL": "ERROR",
}


class LiveEngine(EpisodeEngine):
    """Replays episodes on vLLM in real time.

    The clock runs only inside `advance`, so thinking between calls costs no episode time.
    """

    def __init__(
        self,
        config: LiveConfig,
        scheduler: SchedulerKind = "andes",
        model_dir: Path | None = None,
        emulate: str | None = None,
    ) -> None:
        """Boot an engine.

        Args:
            config: Size of model and engine.
            scheduler: vLLM's own class, or ours with a replaceable planner (none at first).
            model_dir: Where the random-weight model is written; a temporary folder by default.
            emulate: Step-time preset, by name or file, of a device that takes this time instead of computing; None: the model.

        Raises:
            AndesError: If there is no such preset, host memory is asked for under vLLM's own scheduler, or another engine of
                this process has some.
        """
        super().__init__(config, scheduler)
        adapter.require_vllm()
        check_keeps(config, scheduler)
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        adapter.check_connector_place()
        self._elapsed_s = 0.0
        self._resumed_at_s: float | None = None
        self._internal_ids: dict[str, str] = {}
        self._scheduled: Any = None
        self._computed_s = 0.0
        adapter.make_llvmlite_scannable()
        folder = model_dir or models_folder()
        self._engine = _boot(config, scheduler, folder, None if emulate is None else _emulation(config, emulate))
        adapter.observe_steps(self._engine, self._on_scheduled, self._on_computed)
        if scheduler == "andes":
            self._scheduler.clock = lambda: self.now_s
            self._scheduler.arrival_of = lambda request: request.arrival_time
        if config.host_kv_blocks:
            self.replay([EpisodeRequest("first", 0.0, 1, 1)])  # its step brings what copying costs from the worker

    @property
    def host(self) -> HostRoom:
        """Host memory for preempted requests, as a planner is shown it now."""
        return adapter.host_room(self._scheduler)

    @property
    def now_s(self) -> float:
        """Seconds the episode has run; stands still outside `advance`."""
        if self._resumed_at_s is None:
            return self._elapsed_s
        return self._elapsed_s + time.perf_counter() - self._resumed_at_s

    def advance(self, until_s: float, on_step: Any = None) -> None:
        """As `EpisodeEngine.advance`, in real time: sleeps while there is nothing to do."""
        self._resumed_at_s = time.perf_counter()
        try:
            super().advance(until_s, on_step)
        finally:
            self._elapsed_s, self._resumed_at_s = self.now_s, None

    def shutdown(self) -> None:
        """Free the engine; it cannot be used afterwards."""
        self._engine.engine_core.shutdown()

    @property
    def _scheduler(self) -> Any:
        return adapter.inprocess_scheduler(self._engine)

    def _clear(self) -> None:
        if self._internal_ids:
            self._engine.abort_request(list(self._internal_ids), internal=True)
            self._internal_ids.clear()
        while self._engine.has_unfinished_requests():
            self._engine.step()
        self._engine.step()  # lets the worker forget what was aborted
        self._engine.reset_prefix_cache()
        self._elapsed_s = 0.0

    def _submit(self, request: EpisodeRequest) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=request.output_tokens,
            ignore_eos=True,
            temperature=0.0,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args=request.extra_args,
        )
        internal_id = self._engine.add_request(
            request.request_id,
            {"prompt_token_ids": request.prompt_ids(self.config.seed)},
            params,
            arrival_time=request.arrival_s,
        )
        self._internal_ids[internal_id] = request.request_id

    def _abort(self, request_ids: list[str]) -> None:
        internal = {mine: theirs for theirs, mine in self._internal_ids.items()}
        self._engine.abort_request([internal[request_id] for request_id in request_ids], internal=True)

    def _busy(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def _wait_until(self, time_s: float) -> None:
        time.sleep(max(0.0, time_s - self.now_s))

    def _on_scheduled(self, scheduler_output: Any) -> None:
        self._scheduled = step_load(scheduler_output)
        for internal_id in scheduler_output.preempted_req_ids or ():
            self.record.preemptions[self._internal_ids[internal_id]] += 1

    def _on_computed(self, seconds: float) -> None:
        self._computed_s += seconds

    def _step(self) -> StepSample | None:
        start_s, self._scheduled, self._computed_s = self.now_s, None, 0.0
        outputs = self._engine.step()
        now_s = self.now_s
        for output in outputs:
            self.record.emit(output.request_id, output.outputs[0].token_ids, now_s)
            if output.finished:
                self._unfinished.discard(output.request_id)
        load: StepLoad | None = self._scheduled
        if load is None or load.prefill_tokens + load.decode_seqs == 0:
            return None
        return StepSample(start_s, now_s - start_s, *load, self._computed_s)


def _emulation(config: LiveConfig, engine: str) -> dict[str, Any]:
    """The key `emulate` of the section `andes`: a device with the same memory, step by step as this engine goes."""
    emulation = {"engine": engine, "kv_tokens": (config.kv_blocks - 1) * config.block_size, "async_scheduling": False}
    Emulation.from_section({"emulate": emulation})
    return emulation


def _boot(config: LiveConfig, scheduler: SchedulerKind, model_dir: Path, emulation: dict[str, Any] | None) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    model = build_local_model(model_dir, config.model_shape)
    return LLMEngine.from_engine_args(
        EngineArgs(
            model=str(model),
            skip_tokenizer_init=True,
            load_format=load_format(model),
            **config.engine_arguments(),
            async_scheduling=False,  # an iteration's time is then its own, which a calibration needs
            disable_log_stats=True,
            kv_transfer_config=adapter.kv_transfer_config(config.host_kv_blocks),
            scheduler_cls=None if scheduler == "stock" else "andes_engine.vllm.AndesScheduler",
            distributed_executor_backend=None if emulation is None else EXECUTOR,
            additional_config={"andes": {"enabled": False, **({} if emulation is None else {"emulate": emulation})}},
        )
    )
