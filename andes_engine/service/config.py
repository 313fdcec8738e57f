"""The keys of vLLM's `additional_config["andes"]` that are about operating a server, not about planning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from andes_engine.errors import AndesError, UnknownNameError, check_known
from andes_engine.expectations import is_number

LOG_KINDS = ("text", "json")


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """Where decisions are recorded (`andes_engine.decision_trace`), and how large that may become, MiB."""

    path: str
    max_mb: float = 64.0

    def __post_init__(self) -> None:
        if not (isinstance(self.path, str) and self.path and Path(self.path).absolute().parent.is_dir()):
            raise AndesError(f"trace.path = {self.path!r} must name a file in an existing folder")
        if not is_number(self.max_mb, 0.01):
            raise AndesError(f"trace.max_mb = {self.max_mb!r} must be a number of MiB, at least 0.01")


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """How a server is operated.

    Args:
        policy_poll_s: Time between looks at the policy's files, s; a changed bundle is put in charge. 0 never looks.
        trace: File that decisions are recorded in; none by default.
        log: Form of the log lines, `text` or `json`; the second also tells each change of knobs.
        metrics: Whether Prometheus metrics are kept.

    Raises:
        AndesError: If a value is out of range.
    """

    policy_poll_s: float = 1.0
    trace: TraceConfig | None = None
    log: str = "text"
    metrics: bool = True

    def __post_init__(self) -> None:
        if not is_number(self.policy_poll_s, 0.0):
            raise AndesError(f"policy_poll_s = {self.policy_poll_s!r} must be a number of seconds >= 0")
        if self.log not in LOG_KINDS:
            raise UnknownNameError("log", str(self.log), LOG_KINDS)
        if not isinstance(self.metrics, bool):
            raise AndesError(f"metrics = {self.metrics!r} must be true or false")

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> ServiceConfig:
        """From the configuration section `andes`; the planner's keys are passed over.

        Raises:
            AndesError: If a value is out of range, or a key of `trace` is unknown.
        """
        mine = {key: value for key, value in section.items() if key in SERVICE_KEYS}
        if mine.get("trace") is not None:
            mine["trace"] = _trace(mine["trace"])
        return cls(**mine)


SERVICE_KEYS = tuple(entry.name for entry in fields(ServiceConfig))
"""Keys of the section `andes` that are not the planner's."""


def _trace(given: Any) -> TraceConfig:
    if not isinstance(given, Mapping) or "path" not in given:
        raise AndesError(f"trace = {given!r} must be a mapping with 'path', and 'max_mb' if you like")
    check_known("key of trace", given, {entry.name for entry in fields(TraceConfig)})
    return TraceConfig(**given)
