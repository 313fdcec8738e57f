"""A contender, a workload and an engine in vLLM's terms: its planner, its requests, its twin in the simulator."""

from __future__ import annotations

import math
from typing import Any

from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.planner import Planner, PlannerConfig
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.schedulers import FCFS, scheduler_id
from andes_engine.sim.loading import told_lengths
from andes_engine.step_time import StepTime
from andes_engine.vllm.contract import EngineShape
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from andes_engine.workload import Workload


def simulated_twin(config: LiveConfig, step_time: StepTime, host_copy_s_per_block: float = 0.0) -> EngineConfig:
    """The simulator's configuration of a vLLM engine; vLLM keeps one KV block for itself."""
    return EngineConfig(
        name="vllm",
        step_time=step_time,
        kv_blocks=config.kv_blocks - 1,
        block_size_tokens=config.block_size,
        max_num_seqs=config.max_num_seqs,
        max_batched_tokens=config.max_batched_tokens,
        max_model_len_tokens=config.longest_request_tokens,
        prefix_caching=config.prefix_caching,
        host_kv_blocks=config.host_kv_blocks,
        host_copy_s_per_block=host_copy_s_per_block,
    )


def needs_planner(contender: Contender) -> bool:
    """Whether vLLM by itself would do something else; FCFS without a reserve is vLLM's own behaviour."""
    return scheduler_id(contender.scheduler) != FCFS or contender.start_knobs["kv_reserve"] > 0.0


def planner_for(contender: Contender, engine: EngineConfig, workload: Workload | None = None) -> Planner | None:
    """The planner a contender runs with on a vLLM engine; None where vLLM alone does the same.

    Args:
        contender: Scheduler and knobs, or a policy.
        engine: The simulator's twin of the engine.
        workload: What will be run; only a clairvoyant length source needs it.
    """
    if not needs_planner(contender):
        return None
    shape = EngineShape(
        engine.block_size_tokens,
        engine.kv_blocks,
        engine.max_num_seqs,
        engine.max_batched_tokens,
        engine.max_model_len_tokens,
        engine.prefix_caching,
    )
    policy = GuardedPolicy(contender.bundle) if contender.bundle else None
    config = PlannerConfig(
        contender.scheduler, dict(contender.given_knobs), engine.step_time, lengths=contender.lengths
    )
    hints = None if workload is None else _hints(workload, contender)
    return Planner(config, shape, policy, hints)


def _hints(workload: Workload, contender: Contender) -> dict[str, float]:
    tokens = told_lengths(workload, contender.lengths, contender.length_sigma)
    return {str(row): float(hint) for row, hint in enumerate(tokens) if not math.isnan(hint)}


def episode_requests(workload: Workload) -> list[EpisodeRequest]:
    """A workload as the vLLM engines take it; ids are row numbers."""
    names = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s", "user", "abort_s")
    columns: list[list[Any]] = [getattr(workload, name).tolist() for name in names]
    if (hashes := workload.block_hashes) is not None:
        bounds = zip(hashes.hash_offsets[:-1], hashes.hash_offsets[1:], strict=True)
        columns.append([tuple(hashes.hash_ids[start:end].tolist()) for start, end in bounds])
        columns.append([hashes.block_tokens] * len(workload))
    return [EpisodeRequest(str(row), *values) for row, values in enumerate(zip(*columns, strict=True))]
