"""The scheduling core behind a real engine: keeps the live request table from events and turns decisions into request ids.

Knows nothing of vLLM; `andes_engine.vllm.scheduler` feeds it. Named tuples in and out are those of `andes_engine.vllm.contract`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.decision import decide
from andes_engine.decision_buffers import (
    GATED,
    N_ADMIT,
    N_ORDER,
    N_PREEMPT,
    PLANNED,
    TOKEN_BUDGET,
    Decision,
    empty_decision,
)
from andes_engine.engine import EngineView
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.knobs import Knobs
from andes_engine.observation import OBSERVATION_SIZE, observe
from andes_engine.plan_memory import empty_memory, widened
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.request import RequestTable, deliver
from andes_engine.schedulers import scheduler_id
from andes_engine.step_time import StepTime, preset
from andes_engine.vllm.contract import EngineShape, Plan, RunningView, WaitingView

IntArray = NDArray[np.int64]


class KnobSource(Protocol):
    """What may set knobs while the engine runs: a policy behind its guard, or an environment."""

    def due(self, now_s: float) -> bool:
        """Whether a new setting is wanted now."""

    def decide(self, now_s: float, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Knob vector from now on."""


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """How to plan; the keys of `additional_config["andes"]`.

    Args:
        scheduler: Name from `schedulers.SCHEDULERS`.
        knobs: Knobs that differ from the paper's defaults, by name.
        step_time: Preset name of the step-time model.
        policy: Folder of a policy bundle that sets the knobs; none by default.
        qoe_ttft: Expected time to first token of a request that names none, s.
        qoe_tds: Reader's pace of a request that names none, tokens/s.
    """

    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    step_time: str | StepTime = "a100_llama3_8b"
    policy: str | None = None
    qoe_ttft: float = 1.0
    qoe_tds: float = 4.5

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> PlannerConfig:
        """Build from plain data; unknown keys get an error with the nearest known one."""
        known = {entry.name for entry in fields(cls)}
        for key in config:
            if key not in known:
                raise UnknownNameError("setting of 'andes'", key, known)
        return cls(**config)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if not (_is_number(self.qoe_ttft, 0.0) and _is_number(self.qoe_tds, 1e-6)):
            raise AndesError(
                f"need qoe_ttft >= 0 s and qoe_tds > 0 tokens/s, got {self.qoe_ttft!r} and {self.qoe_tds!r}"
            )


class Planner:
    """Plans one engine. Request ids are the engine's own.

    Args:
        config: Scheduler, knobs, step-time model, policy, default expectation.
        shape: Limits of the engine.
        knob_source: Overrides the configured policy; an environment drives a live engine this way.
    """

    def __init__(self, config: PlannerConfig, shape: EngineShape, knob_source: KnobSource | None = None) -> None:
        self.config = config
        self.shape = shape
        self.knobs = Knobs(config.knobs).vector
        self.counters: IntArray = np.zeros(ct.COUNTER_COUNT, dtype=np.int64)
        self.bad_expectations = 0
        self.knob_source = knob_source or _configured_policy(config)
        self._scheduler = scheduler_id(config.scheduler)
        model = config.step_time if isinstance(config.step_time, StepTime) else preset(config.step_time)
        self._step_time = model.vector
        self._table = RequestTable()
        # not the compiled form: numba hands a named tuple back to Python through an in-memory pickle of its class
        self._decision: Decision = empty_decision.py_func(shape.max_num_seqs, 256)
        self._memory = empty_memory(256)
        self._observation = np.zeros(OBSERVATION_SIZE, dtype=np.float32)
        self._observed_at_s: float | None = None
        self._observed_counters = self.counters.copy()
        self._warm_up()

    @classmethod
    def from_config(cls, config: Mapping[str, object], shape: EngineShape) -> Planner:
        """Planner from `additional_config["andes"]`; raises AndesError (a ValueError) with the reason."""
        return cls(PlannerConfig.from_mapping(config), shape)

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: Mapping[str, object] | None
    ) -> None:
        """A request has arrived. A bad expectation is counted and replaced by the default: this must not raise."""
        ttft_s, latency_s = self._expectation(extra_args or {})
        if request_id in self._table:
            self._table.remove(request_id)
        self._table.add(request_id, arrival_s, prompt_tokens, ttft_s, latency_s)
        self.counters[ct.ARRIVED] += 1

    def emitted(self, request_id: str, tokens: int, now_s: float) -> None:
        """Tokens of a request came out."""
        row = self._table.row(request_id)
        for _ in range(tokens):
            deliver(self._table.rows, row, now_s)
        self.counters[ct.DECODE_TOKENS] += tokens

    def preempted(self, request_id: str, now_s: float) -> None:
        """A request lost its KV cache, planned or not."""
        self._table.rows["preemptions"][self._table.row(request_id)] += 1
        self.counters[ct.PREEMPTIONS] += 1

    def remove(self, request_id: str) -> None:
        """A request finished or was aborted."""
        if request_id in self._table:
            self._table.remove(request_id)
            self.counters[ct.FINISHED] += 1

    def step_done(self, now_s: float, prefill_tokens: int, *load: int) -> None:
        """An iteration ended."""
        self.counters[ct.STEPS] += 1
        self.counters[ct.PREFILL_TOKENS] += prefill_tokens

    def plan(
        self, now_s: float, running: Sequence[RunningView], waiting: Sequence[WaitingView], free_blocks: int
    ) -> Plan:
        """Decide on the coming iteration."""
        running_rows = self._note_running(running)
        waiting_rows = self._note_waiting(waiting)
        view = self._view(now_s, free_blocks)
        self._take_knobs(now_s, running_rows, waiting_rows, view)
        self._fit_buffers(len(running_rows) + len(waiting_rows))
        decide(
            self._table.rows,
            running_rows,
            waiting_rows,
            view,
            self._scheduler,
            self.knobs,
            self._step_time,
            self._memory,
            self._decision,
        )
        return self._to_plan()

    def observe_engine(
        self, now_s: float, running: Sequence[RunningView], waiting: Sequence[WaitingView], free_blocks: int
    ) -> NDArray[np.float32]:
        """Observation between iterations, for an environment that decides from outside."""
        rows = self._note_running(running), self._note_waiting(waiting)
        return self.observation(now_s, *rows, self._view(now_s, free_blocks))

    def observation(self, now_s: float, running: IntArray, waiting: IntArray, view: EngineView) -> NDArray[np.float32]:
        """Observation at a decision, from what has happened since the last one."""
        elapsed_s = 0.0 if self._observed_at_s is None else now_s - self._observed_at_s
        recent = self.counters - self._observed_counters
        observe(self._table.rows, running, waiting, view, self._step_time, recent, elapsed_s, self._observation)
        self._observed_at_s, self._observed_counters = now_s, self.counters.copy()
        return self._observation.copy()

    def _take_knobs(self, now_s: float, running: IntArray, waiting: IntArray, view: EngineView) -> None:
        if self.knob_source is not None and self.knob_source.due(now_s):
            self.knobs = self.knob_source.decide(now_s, self.observation(now_s, running, waiting, view))

    def _note_running(self, running: Sequence[RunningView]) -> IntArray:
        rows = np.array([self._table.row(view.request_id) for view in running], dtype=np.int64)
        table = self._table.rows
        table["computed_tokens"][rows] = [view.computed_tokens for view in running]
        table["held_blocks"][rows] = [view.held_blocks for view in running]
        return rows

    def _note_waiting(self, waiting: Sequence[WaitingView]) -> IntArray:
        rows = np.array([self._table.row(view.request_id) for view in waiting if view.admissible], dtype=np.int64)
        self._table.rows["computed_tokens"][rows] = 0
        self._table.rows["held_blocks"][rows] = 0
        return rows

    def _view(self, now_s: float, free_blocks: int) -> EngineView:
        shape = self.shape
        return EngineView(
            float(now_s),
            int(free_blocks),
            shape.kv_blocks,
            shape.block_size,
            shape.max_num_seqs,
            shape.max_batched_tokens,
        )

    def _fit_buffers(self, live: int) -> None:
        if len(self._table.rows) > len(self._memory.places):
            self._memory = widened(self._memory, len(self._table.rows))
        if live > len(self._decision.admit):
            self._decision = empty_decision.py_func(self.shape.max_num_seqs, 2 * live)

    def _to_plan(self) -> Plan:
        decision, name = self._decision, self._table.name
        head = decision.head
        self.counters[ct.DECISIONS] += head[PLANNED]
        self.counters[ct.PLANNED_PREEMPTIONS] += head[N_PREEMPT]
        gated = bool(head[GATED])
        return Plan(
            preempt=[name(row) for row in decision.preempt[: head[N_PREEMPT]]],
            admit=[name(row) for row in decision.admit[: head[N_ADMIT]]] if gated else None,
            run_order=[name(row) for row in decision.order[: head[N_ORDER]]] if head[N_ORDER] else None,
            token_budget=int(head[TOKEN_BUDGET]) if head[TOKEN_BUDGET] < self.shape.max_batched_tokens else None,
        )

    def _expectation(self, extra_args: Mapping[str, object]) -> tuple[float, float]:
        ttft_s, tds = extra_args.get("qoe_ttft", self.config.qoe_ttft), extra_args.get("qoe_tds", self.config.qoe_tds)
        if not (_is_number(ttft_s, 0.0) and _is_number(tds, 1e-6)):
            self.bad_expectations += 1
            ttft_s, tds = self.config.qoe_ttft, self.config.qoe_tds
        return float(ttft_s), 1.0 / float(tds)  # type: ignore[arg-type]

    def _warm_up(self) -> None:
        """Compile (or load) the compiled code now, not at the first request."""
        nobody = np.zeros(0, dtype=np.int64)
        view = self._view(0.0, self.shape.kv_blocks)
        arguments = (self._scheduler, self.knobs, self._step_time, self._memory, self._decision)
        decide(self._table.rows, nobody, nobody, view, *arguments)
        recent = np.zeros_like(self.counters)
        observe(self._table.rows, nobody, nobody, view, self._step_time, recent, 0.0, self._observation)
        row = self._table.add("warm-up", 0.0, 1, 1.0, 1.0)
        deliver(self._table.rows, row, 0.0)
        self._table.remove("warm-up")


def _configured_policy(config: PlannerConfig) -> GuardedPolicy | None:
    return GuardedPolicy.load(Path(config.policy)) if config.policy else None


def _is_number(value: object, low: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= low
