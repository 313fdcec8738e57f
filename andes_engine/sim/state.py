"""State of many simulated engines: arrays with the engine as leading axis, and the view of one of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled, compiled_allocating
from andes_engine.counters import COUNTER_COUNT
from andes_engine.engine import EngineConfig, EngineView
from andes_engine.knobs import KNOB_COUNT
from andes_engine.plan_memory import PlanMemory, empty_memory
from andes_engine.request import Requests, empty_requests
from andes_engine.sim.block_pool import BlockPool, empty_pool, pool_of
from andes_engine.step_time import StepTime

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

R_RUNNING, R_WAITING, R_FREE_BLOCKS, R_NEXT_ARRIVAL, R_LIMIT, R_HOST_FREE, R_COPIED = range(7)
"""Registers: running and waiting requests, free blocks, rows already arrived, rows of this engine's workload, free blocks of host
memory, blocks copied to or from host memory since the last iteration."""
REGISTER_COUNT = 7

L_KV_BLOCKS, L_BLOCK_SIZE, L_MAX_SEQS, L_MAX_TOKENS, L_SCHEDULER, L_PREFIX_CACHING, L_HOST_BLOCKS = range(7)
"""Limits of an engine, its scheduler's number, whether it caches prefixes, its blocks of host memory."""


class Engines(NamedTuple):
    """Simulated engines; every array has the engine as first axis (or has had it taken off by `one`)."""

    table: Requests
    output_tokens: IntArray
    finish_s: FloatArray
    abort_s: FloatArray
    running: IntArray
    waiting: IntArray
    now_s: FloatArray
    registers: IntArray
    limits: IntArray
    counters: IntArray
    knobs: FloatArray
    step_time: FloatArray
    copy_s: FloatArray
    slowdown: FloatArray
    memory: PlanMemory
    pool: BlockPool
    hash_ids: IntArray
    hash_offsets: IntArray
    hash_tokens: IntArray
    token_s: FloatArray
    token_offset: IntArray


def allocate(engines: list[EngineConfig], max_requests: int, token_log: int = 0, users: int = 1) -> Engines:
    """Engines without requests. `token_log` > 0 keeps each token's delivery time (that many in total per engine)."""
    count = len(engines)
    max_seqs = max(engine.max_num_seqs for engine in engines)
    caching = [engine for engine in engines if engine.prefix_caching]
    return Engines(
        table=empty_requests(count, max_requests),
        output_tokens=np.zeros((count, max_requests), dtype=np.int64),
        finish_s=np.full((count, max_requests), np.nan),
        abort_s=np.full((count, max_requests), np.inf),
        running=np.zeros((count, max_seqs), dtype=np.int64),
        waiting=np.zeros((count, max_requests), dtype=np.int64),
        now_s=np.zeros((count, 1)),
        registers=np.zeros((count, REGISTER_COUNT), dtype=np.int64),
        limits=np.array([limits_of(engine) for engine in engines], dtype=np.int64),
        counters=np.zeros((count, COUNTER_COUNT), dtype=np.int64),
        knobs=np.zeros((count, KNOB_COUNT)),
        step_time=np.stack([engine.step_time.vector for engine in engines]),
        copy_s=np.array([[engine.host_copy_s_per_block] for engine in engines]),
        slowdown=np.array([[engine.slowdown] for engine in engines]),
        memory=empty_memory(max_requests, users, (count,)),
        pool=empty_pool(
            count,
            max((engine.kv_blocks for engine in caching), default=0),
            max_seqs if caching else 0,
            max((-(-engine.max_model_len_tokens // engine.block_size_tokens) + 1 for engine in caching), default=0),
        ),
        hash_ids=np.zeros((count, 0), dtype=np.int64),
        hash_offsets=np.zeros((count, max_requests + 1 if caching else 0), dtype=np.int64),
        hash_tokens=np.zeros((count, 1), dtype=np.int64),
        token_s=np.zeros((count, token_log)),
        token_offset=np.zeros((count, max_requests if token_log else 0), dtype=np.int64),
    )


def example_engines() -> tuple[Engines]:
    """Engines of the types that native functions take."""
    return (allocate([EngineConfig("example", StepTime("example", (0.0,) * 3, (0.0,) * 5), kv_blocks=2)], 1),)


def example_engine() -> tuple[Engines]:
    """The same without the leading axis."""
    return (part_of(*example_engines(), 0),)


def limits_of(engine: EngineConfig) -> tuple[int, ...]:
    """Limits of an engine in the order of the L_ constants; scheduler 0 until it is reset."""
    limits = engine.kv_blocks, engine.block_size_tokens, engine.max_num_seqs, engine.max_batched_tokens
    return (*limits, 0, int(engine.prefix_caching), engine.host_kv_blocks)


@compiled_allocating
def memory_of(memory: PlanMemory, index: int) -> PlanMemory:
    """What one engine's decisions remember."""
    return PlanMemory(
        memory.rhythm[index],
        memory.ranking[index],
        memory.places[index],
        memory.user_service[index],
        memory.length_kind[index],
        memory.hazard[index],
    )


@compiled_allocating
def one(engines: Engines, index: int) -> Engines:
    """View of one engine: the same arrays without the leading axis."""
    return Engines(
        engines.table[index],
        engines.output_tokens[index],
        engines.finish_s[index],
        engines.abort_s[index],
        engines.running[index],
        engines.waiting[index],
        engines.now_s[index],
        engines.registers[index],
        engines.limits[index],
        engines.counters[index],
        engines.knobs[index],
        engines.step_time[index],
        engines.copy_s[index],
        engines.slowdown[index],
        memory_of(engines.memory, index),
        pool_of(engines.pool, index),
        engines.hash_ids[index],
        engines.hash_offsets[index],
        engines.hash_tokens[index],
        engines.token_s[index],
        engines.token_offset[index],
    )


def part_of(engines: Engines, where: int | slice) -> Engines:
    """One engine (without the leading axis) or some of them, for Python: views, and record arrays stay record arrays."""

    def cut(values: Any) -> Any:
        return type(values)(*map(cut, values)) if isinstance(values, tuple) else values[where]

    return Engines(*map(cut, engines))


@compiled
def view_of(engine: Engines) -> EngineView:
    """State and limits of one engine, as a decision sees them."""
    limits = engine.limits
    return EngineView(
        engine.now_s[0],
        engine.registers[R_FREE_BLOCKS],
        limits[L_KV_BLOCKS],
        limits[L_BLOCK_SIZE],
        limits[L_MAX_SEQS],
        limits[L_MAX_TOKENS],
        limits[L_PREFIX_CACHING],
        engine.registers[R_HOST_FREE],
        engine.copy_s[0],
    )
