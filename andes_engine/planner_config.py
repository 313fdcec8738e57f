"""How a planner plans: the keys of vLLM's `additional_config["andes"]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.lengths import length_source
from andes_engine.step_time import StepTime


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """How to plan.

    Args:
        scheduler: Name from `schedulers.SCHEDULERS`, or ``module.function`` of a user's own score.
        knobs: Knobs that differ from the paper's defaults, by name.
        step_time: Preset name of the step-time model.
        policy: Folder of a policy bundle that sets the knobs; none by default.
        qoe_ttft: Expected time to first token of a request that names none, s.
        qoe_tds: Reader's pace of a request that names none, tokens/s.
        lengths: Source of expected output lengths, from `lengths.LENGTH_SOURCES`; a server takes only deployable ones.
    """

    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    step_time: str | StepTime = "a100_llama3_8b"
    policy: str | None = None
    qoe_ttft: float = 1.0
    qoe_tds: float = 4.5
    lengths: str = "none"

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> PlannerConfig:
        """Build from plain data; unknown keys get an error with the nearest known one."""
        known = {entry.name for entry in fields(cls)}
        for key in config:
            if key not in known:
                raise UnknownNameError("setting of 'andes'", key, known)
        return cls(**config)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        if not (is_number(self.qoe_ttft, 0.0) and is_number(self.qoe_tds, 1e-6)):
            raise AndesError(
                f"need qoe_ttft >= 0 s and qoe_tds > 0 tokens/s, got {self.qoe_ttft!r} and {self.qoe_tds!r}"
            )

    def check_deployable(self) -> None:
        """Refuse a length source that reads the true output length."""
        if length_source(self.lengths).clairvoyant:
            raise AndesError(
                f"lengths = '{self.lengths}' reads the true output length, which no server knows; use 'none' or 'hazard', or run "
                "an experiment on a known workload"
            )

    def expectation(self, extra_args: Mapping[str, object]) -> tuple[float, float] | None:
        """Expected time to first token (s) and pace (s per token) that a request asks for; None if it asks for nonsense."""
        ttft_s, tds = extra_args.get("qoe_ttft", self.qoe_ttft), extra_args.get("qoe_tds", self.qoe_tds)
        if not (is_number(ttft_s, 0.0) and is_number(tds, 1e-6)):
            return None
        return float(ttft_s), 1.0 / float(tds)  # type: ignore[arg-type]


def is_number(value: object, low: float) -> bool:
    """Whether a value from outside is a finite number, not a truth value, and at least `low`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= low
