"""What an emulated device is: the key `emulate` of vLLM's `additional_config["andes"]`, read without vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from andes_engine.errors import AndesError, CapacityError, check_known
from andes_engine.step_time import StepTime, preset, presets

EXECUTOR = "andes_engine.vllm.emulated.EmulatedExecutor"
"""For vLLM's `--distributed-executor-backend`."""


@dataclass(frozen=True, slots=True)
class Emulation:
    """A device that takes the time of a step-time model and computes nothing.

    Args:
        engine: Step-time preset, by name or by the path of its JSON file.
        kv_tokens: KV cache size, tokens; by default what the preset's device holds.
        real_time: Whether a step takes its time by the clock on the wall. Off, only the device's own clock moves on.
        async_scheduling: Whether vLLM plans each step before the last one's output is known, as it does on a GPU.
        strict: Whether the KV cache behind every token is checked (`FakeWorker`); slow with long contexts.

    Raises:
        AndesError: If the preset is unknown or a value is out of range.
    """

    engine: str
    kv_tokens: int | None = None
    real_time: bool = True
    async_scheduling: bool = True
    strict: bool = False

    def __post_init__(self) -> None:
        _ = self.step_time
        for name in ("real_time", "async_scheduling", "strict"):
            if not isinstance(getattr(self, name), bool):
                raise AndesError(f"emulate.{name} = {getattr(self, name)!r} must be true or false")
        given = self.kv_tokens
        if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            raise CapacityError(f"emulate.kv_tokens = {given!r} must be a whole number of tokens >= 1")
        if self.capacity_tokens == 0:
            raise CapacityError(
                f"emulate.engine = '{self.engine}' does not say how much KV cache it has; give kv_tokens"
            )

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> Emulation:
        """From the configuration section `andes`; `emulate` is a mapping, or a preset's name alone.

        Raises:
            AndesError: If it is missing, has an unknown key, or a value is out of range.
        """
        given = section.get("emulate")
        if isinstance(given, str):
            given = {"engine": given}
        if not isinstance(given, Mapping) or "engine" not in given:
            raise AndesError(
                f"andes.emulate = {given!r} must name a step-time preset, such as "
                '{"andes": {"emulate": {"engine": "h100_llama3_8b"}}} in --additional-config'
            )
        check_known("key of emulate", given, {entry.name for entry in fields(cls)})
        return cls(**given)

    @property
    def step_time(self) -> StepTime:
        """How long a step takes."""
        return preset(self.engine)

    @property
    def capacity_tokens(self) -> int:
        """KV cache size, tokens; 0 if neither the configuration nor the preset says."""
        return self.kv_tokens or int(presets().get(self.engine, {}).get("kv_tokens", 0))
