"""State of many simulated engines: arrays with the engine as leading axis, and the view of one of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.counters import COUNTER_COUNT
from andes_engine.engine import EngineConfig, EngineView
from andes_engine.knobs import KNOB_COUNT
from andes_engine.request import Requests, empty_requests

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

R_RUNNING, R_WAITING, R_FREE_BLOCKS, R_NEXT_ARRIVAL, R_LIMIT = range(5)
"""Registers: running and waiting requests, free blocks, rows already arrived, rows of this engine's workload."""

L_KV_BLOCKS, L_BLOCK_SIZE, L_MAX_SEQS, L_MAX_TOKENS, L_SCHEDULER = range(5)
"""Limits of an engine and its scheduler's number."""


class Engines(NamedTuple):
    """Simulated engines; every array has the engine as first axis (or has had it taken off by `one`)."""

    table: Requests
    output_tokens: IntArray
    finish_s: FloatArray
    running: IntArray
    waiting: IntArray
    now_s: FloatArray
    registers: IntArray
    limits: IntArray
    counters: IntArray
    knobs: FloatArray
    step_time: FloatArray
    rhythm: FloatArray
    token_s: FloatArray
    token_offset: IntArray


def allocate(engines: list[EngineConfig], max_requests: int, token_log: int = 0) -> Engines:
    """Engines without requests. `token_log` > 0 keeps each token's delivery time (that many in total per engine)."""
    count = len(engines)
    max_seqs = max(engine.max_num_seqs for engine in engines)
    return Engines(
        table=empty_requests(count, max_requests),
        output_tokens=np.zeros((count, max_requests), dtype=np.int64),
        finish_s=np.full((count, max_requests), np.nan),
        running=np.zeros((count, max_seqs), dtype=np.int64),
        waiting=np.zeros((count, max_requests), dtype=np.int64),
        now_s=np.zeros((count, 1)),
        registers=np.zeros((count, 5), dtype=np.int64),
        limits=np.array([limits_of(engine) for engine in engines], dtype=np.int64),
        counters=np.zeros((count, COUNTER_COUNT), dtype=np.int64),
        knobs=np.zeros((count, KNOB_COUNT)),
        step_time=np.stack([engine.step_time.vector for engine in engines]),
        rhythm=np.zeros((count, 2)),
        token_s=np.zeros((count, token_log)),
        token_offset=np.zeros((count, max_requests), dtype=np.int64),
    )


def limits_of(engine: EngineConfig) -> tuple[int, int, int, int, int]:
    """Limits of an engine in the order of the L_ constants; scheduler 0 until it is reset."""
    return engine.kv_blocks, engine.block_size_tokens, engine.max_num_seqs, engine.max_batched_tokens, 0


@compiled
def one(engines: Engines, index: int) -> Engines:
    """View of one engine: the same arrays without the leading axis."""
    return Engines(
        engines.table[index],
        engines.output_tokens[index],
        engines.finish_s[index],
        engines.running[index],
        engines.waiting[index],
        engines.now_s[index],
        engines.registers[index],
        engines.limits[index],
        engines.counters[index],
        engines.knobs[index],
        engines.step_time[index],
        engines.rhythm[index],
        engines.token_s[index],
        engines.token_offset[index],
    )


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
    )
