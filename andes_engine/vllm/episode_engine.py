"""The incremental interface that both vLLM engines offer to an environment: reset, advance, look."""

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from andes_engine.vllm import adapter
from andes_engine.vllm.contract import EngineShape, HostRoom, Plan, PlannerLike, RunningView, WaitingView
from andes_engine.vllm.episode import (
    EpisodeRecord,
    EpisodeRequest,
    LiveConfig,
    OnStep,
    SchedulerKind,
    StepSample,
    check_requests,
)


class EpisodeEngine(ABC):
    """Feeds requests to an engine as they arrive and records what comes out.

    Subclasses own the engine and the clock: `now_s`, `_scheduler`, `_clear`, `_submit`, `_abort`, `_busy`, `_step`,
    `_wait_until`.
    """

    def __init__(self, config: LiveConfig, scheduler: SchedulerKind) -> None:
        """Remember the size and the kind of scheduler; nothing is loaded yet."""
        if scheduler not in ("stock", "andes"):
            raise ValueError(f"scheduler must be 'stock' or 'andes', got {scheduler!r}.")
        self.config = config
        self.scheduler_kind = scheduler
        self.record = EpisodeRecord()
        self._planner: PlannerLike | None = None
        self._arrivals: list[EpisodeRequest] = []
        self._next_arrival = 0
        self._leaving: list[tuple[float, str]] = []
        self._unfinished: set[str] = set()

    @property
    @abstractmethod
    def now_s(self) -> float:
        """Seconds since the episode began."""

    @property
    def drained(self) -> bool:
        """Whether every request of the episode has all its tokens, or has lost its reader."""
        return not self._unfinished

    @property
    def token_times(self) -> Mapping[str, list[float]]:
        """Per request, when each token came out, s since the episode began."""
        return self.record.token_times

    @property
    def preemptions(self) -> Mapping[str, int]:
        """Per request, how often it was preempted, by the plan or by vLLM itself."""
        return self.record.preemptions

    @property
    def samples(self) -> Sequence[StepSample]:
        """The engine steps of the episode so far."""
        return self.record.samples

    @property
    def shape(self) -> EngineShape:
        """The capacities a planner for this engine is built with."""
        return adapter.engine_shape(self._scheduler)

    @property
    def counters(self) -> Any:
        """What planning did (`PlanningCounters`); None with vLLM's own scheduler."""
        return getattr(self._scheduler, "counters", None)

    def set_planner(self, planner: PlannerLike | None) -> None:
        """Put a planner in charge, also on a running engine; None is vLLM's own behaviour.

        Raises:
            ValueError: If the engine was built with vLLM's own scheduler, which has no place for a planner.
        """
        if planner is not None and self.scheduler_kind == "stock":
            raise ValueError("this engine runs vLLM's own scheduler; build it with scheduler='andes' to use a planner.")
        self._planner = planner
        if self.scheduler_kind == "andes":
            self._scheduler.set_planner(planner)

    def look(self) -> tuple[Sequence[RunningView], Sequence[WaitingView], int, HostRoom]:
        """What a planner would be shown now: running, waiting, free blocks, host memory; only with our scheduler."""
        return self._scheduler.look()

    def set_plan_log(self, plan_log: Callable[[int, Plan], None] | None) -> None:
        """Receive (step, plan) for each plan from now until the next reset; only with our scheduler."""
        if self.scheduler_kind == "stock":
            raise ValueError(
                "this engine runs vLLM's own scheduler, which makes no plans; build it with scheduler='andes'."
            )
        self._scheduler.plan_log = plan_log

    def reset(self, requests: Sequence[EpisodeRequest]) -> None:
        """Drop whatever runs, empty the prefix cache, set the clock to 0 and take new requests.

        Raises:
            ValueError: If a request does not fit this engine; the running episode is then untouched.
        """
        arrivals = check_requests(requests, self.config)
        self._clear()
        self._arrivals = arrivals
        self._next_arrival = 0
        self._leaving = []
        self._unfinished = {request.request_id for request in arrivals}
        self.record = EpisodeRecord.of(arrivals)

    def advance(self, until_s: float, on_step: OnStep | None = None) -> None:
        """Run until the clock has reached `until_s` or the episode is drained; the last step may end a little later."""
        while not self.drained and self.now_s < until_s:
            self._submit_due()
            self._abort_due()
            if not self._busy():
                self._wait_until(min(until_s, self._next_arrival_s()))
                continue
            sample = self._step()
            if sample is not None:
                self.record.samples.append(sample)
                if on_step is not None:
                    on_step(sample)

    def replay(self, requests: Sequence[EpisodeRequest], planner: PlannerLike | None = None) -> EpisodeRecord:
        """Run a whole episode under one planner."""
        self.set_planner(None)
        self.reset(requests)
        self.set_planner(planner)
        self.advance(math.inf)
        return self.record

    def _next_arrival_s(self) -> float:
        waiting = self._next_arrival < len(self._arrivals)
        return self._arrivals[self._next_arrival].arrival_s if waiting else math.inf

    def _submit_due(self) -> None:
        while self._next_arrival_s() <= self.now_s:
            request = self._arrivals[self._next_arrival]
            self._submit(request)
            self._next_arrival += 1
            if request.abort_s < math.inf:
                heapq.heappush(self._leaving, (request.abort_s, request.request_id))

    def _abort_due(self) -> None:
        """Readers leave at an iteration's end at the earliest, as a server learns of it."""
        due = []
        while self._leaving and self._leaving[0][0] <= self.now_s:
            _, request_id = heapq.heappop(self._leaving)
            if request_id in self._unfinished:
                due.append(request_id)
        if due:
            self._abort(due)
            self._unfinished.difference_update(due)

    @property
    @abstractmethod
    def _scheduler(self) -> Any:
        """VLLM's scheduler object."""

    @abstractmethod
    def _clear(self) -> None:
        """Drop all requests, empty the prefix cache, set the clock to 0."""

    @abstractmethod
    def _submit(self, request: EpisodeRequest) -> None:
        """Hand a request to the engine now."""

    @abstractmethod
    def _abort(self, request_ids: list[str]) -> None:
        """Take requests off the engine whose readers have left."""

    @abstractmethod
    def _busy(self) -> bool:
        """Whether the engine has unfinished requests."""

    @abstractmethod
    def _step(self) -> StepSample | None:
        """Run one engine step and record its tokens; None if nothing was computed."""

    @abstractmethod
    def _wait_until(self, time_s: float) -> None:
        """Let an idle engine's clock reach `time_s`."""
