"""The model card of a bundle: what it was trained on, how it did, and where not to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.config import TrainConfig
from agents.validation import Validation
from andes_engine.action import action_names


def model_card(config: TrainConfig, curve: Sequence[Validation], references: Mapping[str, float]) -> str:
    """Markdown from the configuration and the last validation."""
    engines = ", ".join(engine.name for engine in (config.engine, *config.more_engines.values()))
    traffic = ", ".join(workload.name for workload in (config.workload, *config.more_workloads.values()))
    low, high = config.env.load
    lines = [
        f"# {config.name}",
        f"Sets {', '.join(action_names(config.env.action))} of the scheduler '{config.scheduler.scheduler}' every "
        f"{config.env.decision_interval_s:g} s. Its zero action is '{config.scheduler.name}'.",
        f"Trained in the simulator on {engines}; traffic {traffic}; loads {low:g} to {high:g} of FCFS saturation; "
        f"seed {config.seed}.",
        *_judgement(config, curve, references),
        "Not tried on other engines, traffic or loads: compare it there first (`python -m scripts.compare`).",
    ]
    return "\n\n".join(lines) + "\n"


def _judgement(config: TrainConfig, curve: Sequence[Validation], references: Mapping[str, float]) -> list[str]:
    if not curve:
        return ["Not validated yet."]
    point = curve[-1]
    interval = f", 95 % interval {point.low:+.4f} to {point.high:+.4f}" if point.low is not None else ""
    others = ", ".join(f"{name} {qoe:.4f}" for name, qoe in references.items())
    return [
        f"Validation after {point.steps} decisions: mean QoE {point.qoe:.4f} ({others}); "
        f"against '{config.scheduler.name}' {point.gain:+.4f}{interval}. These workloads chose the checkpoint, "
        "so a result needs held-out ones."
    ]
