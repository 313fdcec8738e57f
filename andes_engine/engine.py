"""What an engine is to a scheduler: its limits, and its state at one decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from andes_engine.errors import CapacityError
from andes_engine.step_time import StepTime, preset


class EngineView(NamedTuple):
    """State and limits of an engine at one decision; what the vLLM scheduler and the simulator both can see."""

    now_s: float
    free_blocks: int
    kv_blocks: int
    block_size_tokens: int
    max_num_seqs: int
    max_batched_tokens: int


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits and speed of one engine, named as vLLM names them.

    Args:
        name: For records.
        step_time: Iteration-time model; the name of a preset is looked up.
        kv_blocks: KV cache blocks usable by requests.
        block_size_tokens: Tokens per block.
        max_num_seqs: Running sequences at most.
        max_batched_tokens: Token budget of one iteration, shared by decode and chunked prefill.
        max_model_len_tokens: Longest sequence; by default what the KV cache holds.

    Raises:
        CapacityError: If a limit is not positive.
    """

    name: str
    step_time: StepTime
    kv_blocks: int
    block_size_tokens: int = 16
    max_num_seqs: int = 256
    max_batched_tokens: int = 2048
    max_model_len_tokens: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_time", _model(self.step_time))
        for field in ("kv_blocks", "block_size_tokens", "max_num_seqs", "max_batched_tokens"):
            value = getattr(self, field)
            if not (value >= 1 and float(value).is_integer()):
                raise CapacityError(f"engine '{self.name}': {field} = {value} must be a whole number >= 1")
        if self.kv_blocks < 2:
            raise CapacityError(
                f"engine '{self.name}': kv_blocks = {self.kv_blocks} cannot hold a request and the block it grows into; "
                "give at least 2"
            )
        if self.max_batched_tokens < self.max_num_seqs:
            raise CapacityError(
                f"engine '{self.name}': max_batched_tokens = {self.max_batched_tokens} is below max_num_seqs = "
                f"{self.max_num_seqs}; every running sequence needs one token per iteration, raise the first or lower the second"
            )
        if self.max_model_len_tokens == 0:
            object.__setattr__(self, "max_model_len_tokens", self.kv_tokens)

    @property
    def kv_tokens(self) -> int:
        """KV cache size in tokens."""
        return self.kv_blocks * self.block_size_tokens

    def view(self, now_s: float, free_blocks: int) -> EngineView:
        """State for one decision."""
        return EngineView(
            now_s, free_blocks, self.kv_blocks, self.block_size_tokens, self.max_num_seqs, self.max_batched_tokens
        )


def _model(given: Any) -> StepTime:
    return preset(given) if isinstance(given, str) else given
