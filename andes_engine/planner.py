"""The scheduling core behind a real engine: turns decisions on the live request table into request ids.

Knows nothing of vLLM; `andes_engine.vllm.scheduler` feeds it. Named tuples in and out are those of `andes_engine.vllm.contract`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.decision_trace.format import Arrays, header, inputs_of, outputs_of
from andes_engine.decision_trace.recorder import DecisionTrace
from andes_engine.engine import EngineView
from andes_engine.knobs import Knobs
from andes_engine.live_decision import LiveDecision
from andes_engine.live_requests import LiveRequests
from andes_engine.live_steps import LIVE_FUNCTIONS, observe_live
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.planner_config import PlannerConfig
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.quiet_steps import QuietSteps
from andes_engine.request_table import RequestTable
from andes_engine.schedulers import OWN, scheduler_id
from andes_engine.schedulers.own import load_score, score_live
from andes_engine.step_time import StepTime, preset
from andes_engine.vllm.contract import NO_HOST, ComputedTokens, EngineShape, HostRoom, Plan, RunningView, WaitingView
from andes_engine.vllm.running_views import RunningViews
from andes_engine.vllm.waiting_views import WaitingViews

IntArray = NDArray[np.int64]

__all__ = ["KnobSource", "Planner", "PlannerConfig"]


class KnobSource(Protocol):
    """What may set knobs while the engine runs: a policy behind its guard, or an environment."""

    def due(self, now_s: float) -> bool:
        """Whether a new setting is wanted now."""

    def decide(self, now_s: float, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Knob vector from now on."""


class Planner:
    """Plans one engine. Request ids are the engine's own.

    Args:
        config: Scheduler, knobs, step-time model, policy, default expectation, length source.
        shape: Limits of the engine.
        knob_source: Overrides the configured policy; an environment drives a live engine this way.
        length_hints: Tokens by the caller's request id for a clairvoyant length source; only experiments have them.

    Raises:
        AndesError: If a name or a value is unknown or out of bounds, or a clairvoyant length source has no hints.
    """

    def __init__(
        self,
        config: PlannerConfig,
        shape: EngineShape,
        knob_source: KnobSource | None = None,
        length_hints: Mapping[str, float] | None = None,
    ) -> None:
        if length_hints is None:
            config.check_deployable()
        self.config = config
        self.shape = shape
        self.knobs = Knobs(config.knobs).vector
        self.knob_source = knob_source or _configured_policy(config)
        self._scheduler = scheduler_id(config.scheduler)
        self._score = load_score(config.scheduler) if self._scheduler == OWN else None
        model = config.step_time if isinstance(config.step_time, StepTime) else preset(config.step_time)
        self._step_time = model.vector
        self._requests = LiveRequests(config, length_hints)
        self._limits = self._view(0.0, 0, NO_HOST)
        self._quiet = QuietSteps(self._scheduler, self._step_time, self._requests)
        self._last: Plan | None = None
        self._core = LiveDecision(self._requests, self._limits, self._scheduler, self._step_time, self.knobs)
        self.trace: DecisionTrace | None = None
        """Where decisions are recorded."""
        self._observation = np.zeros(OBSERVATION_SIZE, dtype=np.float32)
        self._observed_at_s: float | None = None
        self._observed_counters = self.counters.copy()
        self._warm_up()

    @classmethod
    def from_config(cls, config: Mapping[str, object], shape: EngineShape) -> Planner:
        """Planner from `additional_config["andes"]`; raises AndesError (a ValueError) with the reason."""
        return cls(PlannerConfig.from_mapping(config), shape)

    def set_policy(self, policy: GuardedPolicy | None) -> None:
        """Put another policy in charge from the next plan on; None: the configured knobs."""
        self.knob_source = policy
        if policy is None:
            self.knobs = Knobs(self.config.knobs).vector

    @property
    def requests(self) -> LiveRequests:
        """The live requests, to read."""
        return self._requests

    @property
    def counters(self) -> IntArray:
        """What happened so far, in the order of `andes_engine.counters`."""
        return self._requests.counters

    @property
    def bad_expectations(self) -> int:
        """Requests whose expectation was nonsense and was replaced by the default."""
        return self._requests.bad_expectations

    @property
    def _table(self) -> RequestTable:
        return self._requests.table

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: Mapping[str, object] | None
    ) -> None:
        """A request has arrived. A bad expectation is counted and replaced by the default: this must not raise."""
        self._requests.add(request_id, arrival_s, prompt_tokens, extra_args)

    def admitted(self, request_ids: Sequence[str], now_s: float) -> None:
        """Waiting requests have joined the running ones in the iteration that begins now."""
        self._requests.admitted(request_ids, now_s)

    def emitted(self, tokens: Mapping[str, int], now_s: float) -> None:
        """Tokens came out, so many of each of these requests."""
        self._requests.emitted(tokens, now_s)

    def preempted(self, request_id: str, now_s: float, computed_tokens: int) -> None:
        """A request lost its KV cache of so many tokens, planned or not."""
        self._requests.preempted(request_id, computed_tokens)

    def remove(self, request_id: str, finished: bool = True) -> None:
        """A request has left: finished, or cut off by its client or an error."""
        self._requests.remove(request_id, finished)

    def step_done(self, now_s: float, prefill_tokens: int) -> None:
        """An iteration ended."""
        self.counters[ct.STEPS] += 1
        if prefill_tokens:
            self.counters[ct.PREFILL_TOKENS] += prefill_tokens

    def carry_on(self, now_s: float, running: int, computed_tokens: ComputedTokens) -> Plan | None:
        """The plan of the coming iteration if it follows without a look at the engine (`quiet_steps`), else None."""
        wants_a_look = self.knob_source is not None and self.knob_source.due(now_s)
        if wants_a_look or self.trace is not None or self._last is None or self._last.pause:
            return None
        return self._quiet.plan(now_s, running, self._limits, self.knobs, computed_tokens)

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free_blocks: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        """Decide on the coming iteration.

        Raises:
            SchedulerError: If a user's own score function fails; the engine then keeps its own order for this iteration.
        """
        shown, look = RunningViews.of(running), self._requests.look
        look.note(shown, WaitingViews.of(waiting))
        if self.knob_source is not None and self.knob_source.due(now_s):
            observed = self.observation(now_s, *look.rows(), self._view(now_s, free_blocks, host))
            self.knobs = self.knob_source.decide(now_s, observed)
        self._core.make_room(len(running) + len(waiting))
        if self._score is not None:
            score_live(self._score, self.config.scheduler, self._table.rows, np.concatenate(look.rows()), now_s)
        before = None if self.trace is None else self._inputs(self._view(now_s, free_blocks, host))
        self._core.decide(now_s, free_blocks, host, self.knobs)
        if self.trace is not None and before is not None:
            self.trace.record(before, outputs_of(self._core.buffers, self._table.rows, look.rows()[0]))
        self._last = self._core.plan(shown.request_ids)
        return self._last

    def trace_header(self) -> dict[str, object]:
        """First line of a trace of this planner's decisions."""
        return header(self._scheduler, self.shape.max_num_seqs, self._step_time)

    def _inputs(self, view: EngineView) -> Arrays:
        return inputs_of(self._table.rows, *self._requests.look.rows(), view, self.knobs, self._requests.memory)

    def observe_engine(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free_blocks: int,
        host: HostRoom = NO_HOST,
    ) -> NDArray[np.float32]:
        """Observation between iterations, for an environment that decides from outside."""
        look = self._requests.look
        look.note(RunningViews.of(running), WaitingViews.of(waiting))
        return self.observation(now_s, *look.rows(), self._view(now_s, free_blocks, host))

    def observation(self, now_s: float, running: IntArray, waiting: IntArray, view: EngineView) -> NDArray[np.float32]:
        """Observation at a decision, from what has happened since the last one."""
        elapsed_s = 0.0 if self._observed_at_s is None else now_s - self._observed_at_s
        recent = self.counters - self._observed_counters
        engine = self._table.rows, running, waiting, view, self._step_time, self._requests.memory
        observe_live(*engine, recent, elapsed_s, self._observation)
        self._observed_at_s, self._observed_counters = now_s, self.counters.copy()
        return self._observation.copy()

    def _view(self, now_s: float, free_blocks: int, host: HostRoom) -> EngineView:
        shape = self.shape
        return EngineView(
            float(now_s),
            int(free_blocks),
            shape.kv_blocks,
            shape.block_size,
            shape.max_num_seqs,
            shape.max_batched_tokens,
            int(shape.prefix_caching),
            int(host.free_blocks),
            float(host.copy_s_per_block),
        )

    def _warm_up(self) -> None:
        """Load (or compile) the compiled code now, not at the first request."""
        for function in LIVE_FUNCTIONS:
            _ = function.address


def _configured_policy(config: PlannerConfig) -> GuardedPolicy | None:
    return config.load_policy(Path(config.policy)) if config.policy else None
