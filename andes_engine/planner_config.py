"""How a planner plans: the keys of vLLM's `additional_config["andes"]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from andes_engine.errors import AndesError, check_known
from andes_engine.expectations import Expectations
from andes_engine.lengths import length_source
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.service.config import SERVICE_KEYS
from andes_engine.step_time import StepTime


@dataclass(frozen=True, slots=True)
class PlannerConfig:
    """How to plan.

    Args:
        scheduler: Name from `schedulers.SCHEDULERS`, or ``module.function`` of a user's own score.
        knobs: Knobs that differ from the paper's defaults, by name.
        step_time: Preset name of the step-time model.
        policy: Folder of a policy bundle that sets the knobs, or a file that names one (`policy.location`); none by default.
        qoe_ttft: Expected time to first token of a request that names none, s.
        qoe_tds: Reader's pace of a request that names none, tokens/s.
        lengths: Source of expected output lengths, from `lengths.LENGTH_SOURCES`; a server takes only deployable ones.
        ttft_per_prompt: Whether long prompts excuse a later first token, see `expectations.Expectations`.
        classes: Classes of users that a request may name, see `expectations.Expectations`.
    """

    scheduler: str = "andes"
    knobs: Mapping[str, float] = field(default_factory=dict)
    step_time: str | StepTime = "a100_llama3_8b"
    policy: str | None = None
    qoe_ttft: float = 1.0
    qoe_tds: float = 4.5
    lengths: str = "none"
    ttft_per_prompt: bool = False
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, config: Mapping[str, object]) -> PlannerConfig:
        """Build from plain data, without the keys of `service.config`; unknown ones get an error with the nearest known one."""
        known = {entry.name for entry in fields(cls)}
        check_known("setting of 'andes'", config, {*known, *SERVICE_KEYS})
        return cls(**{key: value for key, value in config.items() if key in known})  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        _ = self.expectations

    @property
    def expectations(self) -> Expectations:
        """What readers expect; made anew at each call."""
        return Expectations(self.qoe_ttft, self.qoe_tds, self.ttft_per_prompt, self.classes)

    def load_policy(self, path: Path) -> GuardedPolicy | None:
        """The policy that `path` is or names, guarded, if it goes with this scheduler and length source; None for none.

        Raises:
            BundleError: Otherwise.
        """
        return GuardedPolicy.from_location(path, self.scheduler, self.lengths)

    def check_deployable(self) -> None:
        """Refuse a length source that reads the true output length."""
        if length_source(self.lengths).clairvoyant:
            raise AndesError(
                f"lengths = '{self.lengths}' reads the true output length, which no server knows; use 'none' or 'hazard', or run "
                "an experiment on a known workload"
            )
