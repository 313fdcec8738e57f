"""The decision behind a real engine: its requests are rows that were found in its lists, and the plan names them as it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine.decision import decide
from andes_engine.decision_buffers import (
    GATED,
    N_ADMIT,
    N_ORDER,
    N_PREEMPT,
    RESERVE_BLOCKS,
    TOKEN_BUDGET,
    Decision,
    empty_decision,
)
from andes_engine.engine import EngineView
from andes_engine.live_requests import LiveRequests
from andes_engine.live_steps import FREE_BLOCKS, HOST_COPY_S_PER_BLOCK, HOST_FREE_BLOCKS, NOW_S, decide_live
from andes_engine.plan_memory import widened
from andes_engine.vllm.contract import HostRoom, Plan
from andes_engine.vllm.running_views import RunOrder

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class LiveDecision:
    """Calls `decide` for one engine, and tells it what was decided.

    Attributes:
        buffers: The last decision, in rows.

    Args:
        requests: The live requests.
        limits: Of the engine; time and free blocks do not matter.
        scheduler: Number from `schedulers.SCHEDULERS`.
        step_time: Vector of `step_time.StepTime`.
        knobs: Vector in the order of `knobs.KNOBS`.
    """

    def __init__(
        self, requests: LiveRequests, limits: EngineView, scheduler: int, step_time: FloatArray, knobs: FloatArray
    ) -> None:
        self._requests, self._limits, self._scheduler, self._step_time = requests, limits, scheduler, step_time
        self.buffers: Decision = empty_decision.py_func(limits.max_num_seqs, 256)
        self._clock, self._numbers = np.zeros(2), np.zeros(4, dtype=np.int64)
        self._places: IntArray = np.zeros(limits.max_num_seqs, dtype=np.int64)
        self._words = decide.call_words()
        self._arguments = decide_live.arguments(*self._given(knobs))

    def _given(self, knobs: FloatArray) -> tuple[object, ...]:
        requests, look = self._requests, self._requests.look
        changing = look.running, look.waiting, requests.table.rows, self._clock, self._numbers
        settings = self._limits, self._scheduler, knobs, self._step_time, requests.memory
        return (*changing, *settings, self.buffers, requests.counters, self._places, self._words)

    def make_room(self, live: int) -> None:
        """For decisions about so many requests."""
        requests = self._requests
        if len(requests.table.rows) > len(requests.memory.places):
            requests.memory = widened(requests.memory, len(requests.table.rows))
        if live > len(self.buffers.admit):
            self.buffers = empty_decision.py_func(self._limits.max_num_seqs, 2 * live)

    def decide(self, now_s: float, free_blocks: int, host: HostRoom, knobs: FloatArray) -> None:
        """Decide on the requests of the last look, and count it."""
        self._clock[NOW_S], self._clock[HOST_COPY_S_PER_BLOCK] = now_s, host.copy_s_per_block
        self._numbers[FREE_BLOCKS], self._numbers[HOST_FREE_BLOCKS] = free_blocks, host.free_blocks
        self._arguments.put_all(self._given(knobs))
        decide_live.run(self._arguments)

    def plan(self, shown: Sequence[str]) -> Plan:
        """What was decided, in the engine's ids; `shown` are those of the running requests as they were shown."""
        buffers, names_of = self.buffers, self._requests.table.names_of
        head = buffers.head.tolist()
        _, _, reordered, paused = self._numbers.tolist()
        return Plan(
            preempt=names_of(buffers.preempt[: head[N_PREEMPT]]),
            admit=names_of(buffers.admit[: head[N_ADMIT]]) if head[GATED] else None,
            run_order=RunOrder(shown, self._places[: head[N_ORDER]].copy()) if reordered else None,
            token_budget=head[TOKEN_BUDGET] if head[TOKEN_BUDGET] < self._limits.max_batched_tokens else None,
            pause=self._paused() if paused else (),
            reserve_blocks=head[RESERVE_BLOCKS] or None,
        )

    def _paused(self) -> list[str]:
        table, (running, _) = self._requests.table, self._requests.look.rows()
        paused = running[table.columns.paused[running] != 0]
        preempted = self.buffers.preempt[: self.buffers.head[N_PREEMPT]]
        return table.names_of(paused[~np.isin(paused, preempted)])
