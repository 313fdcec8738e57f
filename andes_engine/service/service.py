"""The operating side of one serving scheduler: called before and after each step, never in the way of one."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from andes_engine.decision_trace.recorder import DecisionTrace
from andes_engine.planner import Planner
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.service import METRICS_FOLDER
from andes_engine.service.config import ServiceConfig
from andes_engine.service.events import configure_logging, logger, tell
from andes_engine.service.metrics import Exporter
from andes_engine.service.policy_watch import PolicyWatch
from andes_engine.service.telemetry import Telemetry

REPORT_PERIOD_S = 1.0


class Service:
    """Metrics, events, policy exchange and trace of one planner.

    Args:
        planner: The planner that serves.
        config: What is wanted.
        exporter: Where metrics go; None for none.
        trace: Where decisions go; None for nowhere.
    """

    def __init__(
        self, planner: Planner, config: ServiceConfig, exporter: Exporter | None, trace: DecisionTrace | None = None
    ) -> None:
        self._planner = planner
        self._telemetry = Telemetry(planner, exporter)
        self._exporter = exporter
        self._trace = planner.trace = trace
        self._reported_s = float("-inf")
        self._swaps = 0
        self.failures = 0
        """Exceptions in here; the first is logged."""
        self.refused(0)
        self._watch: PolicyWatch | None = None
        if planner.config.policy and config.policy_poll_s > 0.0:
            place = Path(planner.config.policy)
            self._watch = PolicyWatch(place, config.policy_poll_s, self.refused, planner.config.load_policy)
            self._watch.start()

    def close(self) -> None:
        """Stop the threads; what is waiting for the trace is written."""
        if self._watch is not None:
            self._watch.stop()
        if self._trace is not None:
            self._trace.close()

    def before_step(self) -> None:
        """Put a new policy in charge if one was found; never raises."""
        if self._watch is not None:
            self._safely(self._exchange, self._watch)

    def planned(self, seconds: float) -> None:
        """The plan of this step took so long to make and apply."""
        self._telemetry.planned(seconds)

    def after_step(self, now_s: float, counters: Any, anybody_left: bool) -> None:
        """Report about once a second, and before the engine falls idle; never raises.

        Args:
            now_s: Engine clock, s.
            counters: The scheduler's `PlanningCounters`.
            anybody_left: Whether requests are still there, so that further steps will come.
        """
        if now_s - self._reported_s >= REPORT_PERIOD_S or not anybody_left:
            self._reported_s = now_s
            self._safely(self._telemetry.report, now_s, counters, self._own_counts())

    def refused(self, times: int = 1) -> None:
        """A policy was refused; told at once, from the thread that watches, because an idle engine makes no steps."""
        if self._exporter is not None:
            self._exporter.count("andes_policy_swaps", times, "refused")

    def _exchange(self, watch: PolicyWatch) -> None:
        swap = watch.take()
        if swap is None:
            return
        try:
            self._telemetry.report_policy()
            self._telemetry.forget_policy(self._planner.knob_source)
        finally:  # a swap is never lost
            self._planner.set_policy(swap.guard)
            self._swaps += 1
        guard = swap.guard
        tell("policy_swapped", policy=guard.bundle.name if guard else "none", version=guard.version if guard else "")

    def _own_counts(self) -> dict[tuple[str, ...], float]:
        counts: dict[tuple[str, ...], float] = {
            ("andes_policy_swaps", "applied"): self._swaps,
            ("andes_fallbacks", "service_failure"): self.failures,
        }
        if self._trace is not None:
            counts["andes_traced_decisions", "written"] = self._trace.written
            counts["andes_traced_decisions", "dropped"] = self._trace.dropped
        return counts

    def _safely(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:  # whatever it is, requests are served
            self.failures += 1
            if self.failures == 1:
                logger.error("andes: metrics or policy exchange failed (logged once)", exc_info=error)


def start_service(planner: Planner, section: Mapping[str, Any], model_name: str, engine: int) -> Service:
    """Logging, metrics, policy watch and trace as configured.

    Args:
        planner: The planner that serves.
        section: The configuration section `andes`.
        model_name: As vLLM's own metrics have it.
        engine: Number of the engine among data-parallel ones.

    Raises:
        AndesError: If a value of the section is out of range.
    """
    config = ServiceConfig.from_section(section)
    configure_logging(config.log)
    guard = planner.knob_source
    policy = guard.bundle.name if isinstance(guard, GuardedPolicy) else "none"
    tell("planner_ready", scheduler=planner.config.scheduler, policy=policy, engine=engine)
    if config.metrics and METRICS_FOLDER not in os.environ and multiprocessing.parent_process() is not None:
        tell(
            "metrics_hidden",
            logging.WARNING,
            remedy=f"set {METRICS_FOLDER} to an empty folder, or start with andes-vllm",
        )
    exporter = Exporter(model_name, engine) if config.metrics else None
    return Service(planner, config, exporter, _trace(planner, config, engine))


def _trace(planner: Planner, config: ServiceConfig, engine: int) -> DecisionTrace | None:
    if config.trace is None:
        return None
    path = Path(config.trace.path if engine == 0 else f"{config.trace.path}.engine{engine}")
    return DecisionTrace(path, config.trace.max_mb, planner.trace_header())
