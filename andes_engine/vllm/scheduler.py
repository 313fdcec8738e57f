"""The planning scheduler: vLLM's own scheduler with a plan applied before each of its steps.

Select it with `--scheduler-cls andes_engine.vllm.AndesScheduler --additional-config '{"andes": {...}}'`. `schedule()`
of vLLM is never rewritten: the mixin preempts, orders and gates, then calls it. Checked against
`vllm/v1/core/sched/scheduler.py` 0.32.0.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from andes_engine.vllm import adapter

adapter.require_vllm()

from vllm.v1.core.sched.async_scheduler import AsyncScheduler  # noqa: E402 - after the check, whose message is better
from vllm.v1.core.sched.scheduler import Scheduler  # noqa: E402

from andes_engine.compile_cache import keep_nothing  # noqa: E402
from andes_engine.vllm.contract import Clock, HostRoom, Plan, PlannerLike, RunningView, WaitingView  # noqa: E402
from andes_engine.vllm.cooldown import Cooldown  # noqa: E402
from andes_engine.vllm.features import check_features  # noqa: E402
from andes_engine.vllm.gated_queue import GatedQueue  # noqa: E402
from andes_engine.vllm.plan_step import STOCK_PLAN, PlanStep  # noqa: E402
from andes_engine.vllm.planning_counters import PlanningCounters  # noqa: E402
from andes_engine.vllm.prefix_probe import PrefixProbe  # noqa: E402
from andes_engine.vllm.running_memory import RunningMemory  # noqa: E402
from andes_engine.vllm.section import andes_section  # noqa: E402
from andes_engine.vllm.step_load import prefill_tokens  # noqa: E402

logger = logging.getLogger(__name__)

PlanLog = Callable[[int, Plan], None]

if TYPE_CHECKING:
    from andes_engine.planner import Planner
    from andes_engine.service.service import Service

    _MixedInto: Any  # a vLLM scheduler class, always; vLLM counts as untyped
else:
    _MixedInto = object


class PlanningMixin(_MixedInto):
    """Adds planning to a vLLM scheduler class that follows it in the bases."""

    def __init__(self, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        """Check the configuration, build vLLM's scheduler, gate its queues, build the planner that the configuration asks for."""
        for warning in check_features(vllm_config):
            logger.warning("andes: %s", warning)
        super().__init__(vllm_config, *args, **kwargs)
        self.clock: Clock = time.monotonic
        self.arrival_of: Callable[[Any], float] | None = None
        """Arrival of a request on `clock`; None: from vLLM's wall-clock stamp."""
        self.plan_log: PlanLog | None = None
        self.counters = PlanningCounters()
        self._planner: PlannerLike | None = None
        self._planned_step = 0
        self._cooldown = Cooldown()
        self._probe = PrefixProbe()
        self._looks = RunningMemory()
        self._freed: dict[str, bool] = {}
        self._gates = [self._gated(name) for name in adapter.waiting_queue_names(self)]
        planner = planner_from_config(vllm_config, self)
        self.set_planner(planner)
        self.service: Service | None = None
        """Metrics, log, policy exchange and trace of the configured planner."""
        if planner is not None:
            from andes_engine.service.service import start_service  # after the planner, which says how code is compiled

            self.service = start_service(planner, andes_section(vllm_config), *adapter.metric_labels(vllm_config))

    def _gated(self, name: str) -> GatedQueue:
        gate = GatedQueue(getattr(self, name))
        setattr(self, name, gate)
        return gate

    @property
    def planner(self) -> PlannerLike | None:
        """The planner in charge; None means vLLM's own decisions, untouched."""
        return self._planner

    def set_planner(self, planner: PlannerLike | None) -> None:
        """Put another planner in charge from the next step on; it is told of every live request."""
        self._planner = planner
        self.counters = PlanningCounters()
        for request in self.requests.values():
            self._introduce(request)
        if planner is not None and self.running:
            self._safely(planner.admitted, [request.request_id for request in self.running], self.clock())

    def add_request(self, request: Any) -> None:
        """Tell the planner, then queue it. Never raises on the planner's behalf: that would kill the engine core."""
        if request.request_id not in self.requests:  # else a further turn of a streaming session
            self._introduce(request)
        super().add_request(request)

    def _introduce(self, request: Any) -> None:
        if self._planner is not None:
            self._safely(self._add_to_planner, self._planner, request)

    def _add_to_planner(self, planner: PlannerLike, request: Any) -> None:
        params = request.sampling_params
        extra_args = None if params is None else params.extra_args
        planner.add(request.request_id, self._arrival_s(request), request.num_prompt_tokens, extra_args)

    def _arrival_s(self, request: Any) -> float:
        if self.arrival_of is not None:
            return self.arrival_of(request)
        # vLLM stamps arrivals with time.time() in the front end; move the stamp onto our clock, never into its future.
        return self.clock() - max(0.0, time.time() - request.arrival_time)

    def look(self) -> tuple[Sequence[RunningView], Sequence[WaitingView], int, HostRoom]:
        """What a planner would be shown now: running, waiting, free blocks, host memory."""
        return self._plan_step().look()

    def _plan_step(self) -> PlanStep:
        return PlanStep(self, self._gates, self._cooldown, self._probe, self._looks, self._planned_step)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Plan, then let vLLM schedule. Without a planner: vLLM alone."""
        self._forget_freed()
        self._planned_step += 1
        if self._planner is None:
            return super().schedule(*args, **kwargs)
        if self.service is not None:
            self.service.before_step()
        started_s = time.perf_counter()
        plan = self._plan_and_apply(self._planner)
        if self.service is not None:
            self.service.planned(time.perf_counter() - started_s)
        try:
            if plan.token_budget is None and plan.reserve_blocks is None:
                output = super().schedule(*args, **kwargs)
            else:
                output = self._schedule_within(plan, *args, **kwargs)
        finally:
            for gate in self._gates:
                gate.open()
        if admitted := adapter.admitted_ids(output):
            self._safely(self._report_admitted, self._planner, admitted)
        self._looks.stepped(self, output, admitted)
        return output

    def _schedule_within(self, plan: Plan, *args: Any, **kwargs: Any) -> Any:
        with adapter.capped_tokens(self, plan.token_budget), adapter.kept_free(self, plan.reserve_blocks) as kept:
            self.counters.ignored += not kept
            return super().schedule(*args, **kwargs)

    def _report_admitted(self, planner: PlannerLike, admitted: Sequence[str]) -> None:
        for request_id in admitted:
            self._probe.forget(request_id)
        planner.admitted(admitted, self.clock())

    def _plan_and_apply(self, planner: PlannerLike) -> Plan:
        step = self._plan_step()
        plan = STOCK_PLAN
        try:
            plan = step.ask(planner, self.clock())
            self._apply(step, plan)
        except Exception as error:  # the server must outlive any planner
            self._count_failure(error)
            plan = STOCK_PLAN
            step.gate(plan.admit)
        if step.ignored or step.forced:
            self.counters.ignored += step.ignored
            self.counters.forced_admissions += step.forced
        return plan

    def _apply(self, step: PlanStep, plan: Plan) -> None:
        self.counters.planned_preemptions += step.preempt(plan.preempt)
        step.reorder(plan.run_order)
        self.counters.pauses += step.pause(plan.pause, bool(plan.admit))
        step.gate(plan.admit)
        self.counters.plans += 1
        if self.plan_log is not None:
            self.plan_log(self._planned_step, plan)

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """Let vLLM take the tokens in, then tell the planner who got how many, and what the step contained."""
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        if self._planner is not None:
            self._safely(self._report, self._planner, scheduler_output, outputs)
        self._forget_freed()
        if self.service is not None:
            self.service.after_step(self.clock(), self.counters, bool(self.requests))
        return outputs

    def _report(self, planner: PlannerLike, scheduler_output: Any, outputs: Mapping[int, Any]) -> None:
        now_s = self.clock()
        if tokens := adapter.tokens_out(outputs):
            planner.emitted(tokens, now_s)
        step_done = getattr(planner, "step_done", None)
        if step_done is not None and scheduler_output.total_num_scheduled_tokens > 0:
            step_done(now_s, prefill_tokens(scheduler_output))

    def _preempt_request(self, request: Any, *args: Any, **kwargs: Any) -> None:
        """Every preemption passes here: ours, vLLM's own for lack of blocks, and a cache reset's."""
        if (keeper := adapter.kv_keeper(self)) is not None:
            self._safely(self._keep, keeper, request)
        computed_tokens = request.num_computed_tokens
        super()._preempt_request(request, *args, **kwargs)
        self._cooldown.start(request.request_id, self._planned_step)
        self.counters.preemptions += 1
        if self._planner is not None:
            self._safely(self._planner.preempted, request.request_id, self.clock(), computed_tokens)

    def _keep(self, keeper: Any, request: Any) -> None:
        blocks = adapter.settled_blocks(self, request)
        if keeper.keep(request.request_id, blocks):
            self.counters.kept += bool(blocks)
            return
        self.counters.host_full += 1
        if self.counters.host_full == 1:
            logger.warning(
                "andes: host memory for KV caches is full, so a preempted request is recomputed (logged once)"
            )

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """KV that vLLM must not find again, for example of earlier weights, must not come back from host memory either."""
        try:
            return super().reset_prefix_cache(*args, **kwargs)
        finally:
            if (keeper := adapter.kv_keeper(self)) is not None:
                keeper.reset_cache()

    def _free_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Remember to forget the request: its last tokens are reported to the planner first."""
        self._freed[request.request_id] = adapter.finished_by_itself(request)
        return super()._free_request(request, *args, **kwargs)

    def _forget_freed(self) -> None:
        for request_id, finished in self._freed.items():
            self._cooldown.forget(request_id)
            self._probe.forget(request_id)
            if self._planner is not None:
                self._safely(self._planner.remove, request_id, finished)
        self._freed.clear()

    def shutdown(self) -> None:
        """Stop what belongs to the planner, then vLLM's own."""
        if self.service is not None:
            self.service.close()
        super().shutdown()

    def _safely(self, call: Callable[..., object], *args: object) -> None:
        try:
            call(*args)
        except Exception as error:  # the server must outlive any planner
            self._count_failure(error)

    def _count_failure(self, error: Exception) -> None:
        self.counters.failures += 1
        if self.counters.failures == 1:
            logger.error("andes: the planner failed; this step runs in vLLM's order (logged once)", exc_info=error)


class AndesSyncScheduler(PlanningMixin, Scheduler):
    """Planning on vLLM's synchronous scheduler."""


class AndesAsyncScheduler(PlanningMixin, AsyncScheduler):
    """Planning on vLLM's asynchronous scheduler; on a GPU only this one keeps the overlap of planning and execution."""


def AndesScheduler(vllm_config: Any, *args: Any, **kwargs: Any) -> Scheduler:  # noqa: N802
    """Build the planning scheduler that fits `vllm_config.scheduler_config.async_scheduling`.

    vLLM resolves `--scheduler-cls` by name and calls it (`vllm/v1/engine/core.py`, 0.32.0), so a function may choose the class.
    """
    chosen = AndesAsyncScheduler if vllm_config.scheduler_config.async_scheduling else AndesSyncScheduler
    return chosen(vllm_config, *args, **kwargs)


def planner_from_config(vllm_config: Any, scheduler: Any) -> Planner | None:
    """The planner that `additional_config["andes"]` describes; None for `{"enabled": false}`.

    Raises:
        ValueError: If the section is not a mapping, or the planner refuses its contents.
    """
    section = andes_section(vllm_config)
    if not section.get("enabled", True):
        return None
    keep_nothing()
    from andes_engine.planner import Planner  # not needed where a planner is injected

    rest = {key: value for key, value in section.items() if key not in ("enabled", "emulate")}
    return Planner.from_config(rest, adapter.engine_shape(scheduler))
