"""What an engine is to a scheduler: its limits, and its state at one decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from andes_engine.errors import CapacityError
from andes_engine.step_time import StepTime, preset


class EngineView(NamedTuple):
    """State and limits of an engine at one decision; what the vLLM scheduler and the simulator both can see.

    Times in s. `prefix_caching` is 0 or 1; `host_free_blocks` is room for KV caches of preempted requests in host memory, and
    `host_copy_s_per_block` what copying one block there or back takes.
    """

    now_s: float
    free_blocks: int
    kv_blocks: int
    block_size_tokens: int
    max_num_seqs: int
    max_batched_tokens: int
    prefix_caching: int = 0
    host_free_blocks: int = 0
    host_copy_s_per_block: float = 0.0


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
        prefix_caching: Whether full blocks stay findable by their content, vLLM's automatic prefix caching; preemption is then
            soft, only what others overwrote is recomputed.
        host_kv_blocks: Blocks of host memory that keep the KV cache of preempted requests; 0 for recompute.
        host_copy_s_per_block: Time to copy one block to or from host memory, s: its bytes over the bandwidth. The default is
            2 MiB (16 tokens of Llama-3-8B) over 25 GB/s, PCIe 4.0 x16.
        slowdown: How many times longer iterations take than the step-time model says that the scheduler plans with: an engine
            that was calibrated on another day, or throttles.

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
    prefix_caching: bool = False
    host_kv_blocks: int = 0
    host_copy_s_per_block: float = 84e-6
    slowdown: float = 1.0

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
        if not (self.host_kv_blocks >= 0 and 0.0 <= self.host_copy_s_per_block < 1.0):
            raise CapacityError(
                f"engine '{self.name}': need host_kv_blocks >= 0 and 0 <= host_copy_s_per_block < 1, got "
                f"{self.host_kv_blocks} and {self.host_copy_s_per_block}"
            )
        if not 0.1 <= self.slowdown <= 10.0:
            raise CapacityError(f"engine '{self.name}': slowdown = {self.slowdown} must be between 0.1 and 10")
        if self.max_model_len_tokens == 0:
            object.__setattr__(self, "max_model_len_tokens", self.kv_tokens)

    @property
    def kv_tokens(self) -> int:
        """KV cache size in tokens."""
        return self.kv_blocks * self.block_size_tokens

    def keeping_kv(self, share: float) -> EngineConfig:
        """This engine with host memory for `share` times its KV cache at least, for what preempted requests had."""
        return replace(self, host_kv_blocks=max(self.host_kv_blocks, int(share * self.kv_blocks)))

    def view(self, now_s: float, free_blocks: int, host_free_blocks: int | None = None) -> EngineView:
        """State for one decision; by default all of host memory is free."""
        return EngineView(
            now_s,
            free_blocks,
            self.kv_blocks,
            self.block_size_tokens,
            self.max_num_seqs,
            self.max_batched_tokens,
            int(self.prefix_caching),
            self.host_kv_blocks if host_free_blocks is None else host_free_blocks,
            self.host_copy_s_per_block,
        )


def _model(given: Any) -> StepTime:
    return preset(given) if isinstance(given, str) else given
