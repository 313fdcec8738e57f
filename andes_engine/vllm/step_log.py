"""The decisions of vLLM's own scheduler on the virtual clock one by one, as `sim.step_log` gives the simulator's."""

from __future__ import annotations

from typing import Any

from andes_engine.contender import Contender
from andes_engine.records import RunRecord
from andes_engine.sim.step_log import LoggedStep
from andes_engine.step_time import StepTime
from andes_engine.vllm.contenders import episode_requests, planner_for, simulated_twin
from andes_engine.vllm.episode import LiveConfig, SchedulerKind, StepSample
from andes_engine.vllm.outcome import outcome
from andes_engine.vllm.virtual_clock import VirtualEngine
from andes_engine.workload import Workload


def virtual_steps(
    config: LiveConfig,
    step_time: StepTime,
    workload: Workload,
    contender: Contender,
    host_copy_s_per_block: float = 0.0,
) -> tuple[RunRecord, list[LoggedStep]]:
    """Replay a workload until drained, synchronously; returns its record and what each iteration did."""
    twin = simulated_twin(config, step_time, host_copy_s_per_block)
    planner = planner_for(contender, twin, workload)
    kind: SchedulerKind = "stock" if planner is None and config.host_kv_blocks == 0 else "andes"
    engine = VirtualEngine(config, step_time, kind, host_copy_s_per_block=host_copy_s_per_block)
    steps: list[LoggedStep] = []
    engine.on_scheduled = lambda sample, output: steps.append(_logged(sample, output))
    engine.replay(episode_requests(workload), planner)
    return outcome(engine, "virtual", twin, workload, contender.name, planner), steps


def _logged(sample: StepSample, output: Any) -> LoggedStep:
    before = {new.req_id: new.num_computed_tokens for new in output.scheduled_new_reqs}
    cached = output.scheduled_cached_reqs
    before |= dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
    computed = sorted((int(name), before[name] + tokens) for name, tokens in output.num_scheduled_tokens.items())
    preempted = sorted(map(int, output.preempted_req_ids or ()))
    return LoggedStep(sample.start_s, sample.duration_s, tuple(computed), tuple(preempted))
