"""The Prometheus metrics of a serving process: the only list of them.

With `PROMETHEUS_MULTIPROC_DIR` set to an empty folder they appear in vLLM's own `/metrics`, although the scheduler lives in
another process than the HTTP server; `andes-vllm` sets it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import prometheus_client

PROCESS_LABELS = ("model_name", "engine")
"""Labels of every metric, as vLLM's own have them."""


class Metric(NamedTuple):
    """One metric. Counters are exported with `_total` behind the name, histograms as `_bucket`, `_sum` and `_count`."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric(
        "andes_request_qoe_ratio",
        "histogram",
        "Headline QoE of requests that ended by themselves, 0 to 1",
        buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
    ),
    Metric(
        "andes_slack_seconds",
        "gauge",
        "Time until readers run out of text, negative for who waits already; quantiles, sampled about once a second",
        ("state", "quantile"),
    ),
    Metric("andes_live_requests", "gauge", "Requests in the planner's table; 0 when the engine is idle"),
    Metric("andes_preemptions", "counter", "Requests that lost their KV cache, by who decided it", ("cause",)),
    Metric("andes_kept_preemptions", "counter", "Preempted requests whose KV cache is kept in host memory"),
    Metric("andes_pauses", "counter", "Iterations that a running request sat out with its KV cache kept"),
    Metric("andes_plans", "counter", "Plans applied before an engine step"),
    Metric(
        "andes_decision_duration_seconds",
        "histogram",
        "Time to look, decide and apply a plan before an engine step",
        buckets=(50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1.6e-3, 3.2e-3, 6.4e-3, 12.8e-3, 51.2e-3),
    ),
    Metric("andes_fallbacks", "counter", "Times something else was done than planned or asked for", ("cause",)),
    Metric("andes_knob_value", "gauge", "Knobs in force", ("knob", "unit")),
    Metric("andes_policy_info", "gauge", "1 for the policy in charge, 0 for earlier ones", ("policy", "version")),
    Metric("andes_policy_swaps", "counter", "Policies found while serving", ("result",)),
    Metric("andes_policy_decisions", "counter", "Decisions of policies"),
    Metric("andes_traced_decisions", "counter", "Decisions for the trace file", ("result",)),
)


def exported_names() -> set[str]:
    """Names that queries may use."""
    endings = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}
    return {metric.name + ending for metric in METRICS for ending in endings[metric.kind]}


@cache
def collectors(registry: Any = prometheus_client.REGISTRY) -> dict[str, Any]:
    """The collectors of this process by name, made once for each registry."""
    return {metric.name: _collector(metric, registry) for metric in METRICS}


def _collector(metric: Metric, registry: Any) -> Any:
    labels = (*PROCESS_LABELS, *metric.labels)
    if metric.kind == "histogram":
        return prometheus_client.Histogram(
            metric.name, metric.meaning, labels, buckets=metric.buckets, registry=registry
        )
    if metric.kind == "gauge":
        # one engine-core process writes a given `engine`, so the newest value is the only one
        return prometheus_client.Gauge(
            metric.name, metric.meaning, labels, registry=registry, multiprocess_mode="mostrecent"
        )
    return prometheus_client.Counter(metric.name, metric.meaning, labels, registry=registry)


class Exporter:
    """Writes metrics for one engine.

    Args:
        model_name: As vLLM's own metrics have it.
        engine: Number of the engine among data-parallel ones.
        registry: Where the collectors are registered.
    """

    def __init__(self, model_name: str, engine: int, registry: Any = prometheus_client.REGISTRY) -> None:
        self._collectors = collectors(registry)
        self._labels = (model_name, str(engine))
        self._children: dict[tuple[str, ...], Any] = {}

    def count(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter."""
        self._child(name, *labels).inc(amount)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(name, *labels).set(value)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Add one observation to a histogram."""
        self._child(name, *labels).observe(value)

    def _child(self, name: str, *labels: str) -> Any:
        key = (name, *labels)
        if key not in self._children:
            self._children[key] = self._collectors[name].labels(*self._labels, *labels)
        return self._children[key]
