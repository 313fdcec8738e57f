"""What the scheduler and a planner say to each other.

The values are plain named tuples so that a planner can be tested without an engine, and an engine without a planner.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

Clock = Callable[[], float]
"""Time in seconds from an arbitrary origin; never goes backwards."""


class RunningView(NamedTuple):
    """One running request, in the engine's order."""

    request_id: str
    computed_tokens: int
    held_blocks: int
    preemptible: bool


class WaitingView(NamedTuple):
    """One waiting request, in the engine's order; not admissible while in cooldown or blocked on something else."""

    request_id: str
    admissible: bool


class Plan(NamedTuple):
    """The decision for one engine step.

    Attributes:
        preempt: Running requests to preempt now.
        admit: Waiting requests that may be admitted, in this order. None: all of them, in the engine's own order.
        run_order: New order of the running list after the preemptions. None: unchanged.
        token_budget: Cap on the tokens (decode and prefill) scheduled in this step. None: the engine's own.
    """

    preempt: list[str]
    admit: list[str] | None
    run_order: list[str] | None
    token_budget: int | None


class EngineShape(NamedTuple):
    """The capacities a planner has to respect."""

    block_size: int
    kv_blocks: int
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int


class PlannerLike(Protocol):
    """The planner as the vLLM scheduler sees it. Request ids are vLLM's internal ones."""

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: Mapping[str, object] | None
    ) -> None:
        """A request has arrived."""

    def emitted(self, request_id: str, tokens: int, now_s: float) -> None:
        """Tokens of a request came out."""

    def preempted(self, request_id: str, now_s: float) -> None:
        """A request lost its KV cache, planned or not."""

    def remove(self, request_id: str) -> None:
        """A request finished or was aborted."""

    def plan(
        self, now_s: float, running: Sequence[RunningView], waiting: Sequence[WaitingView], free_blocks: int
    ) -> Plan:
        """Decide on the coming step."""
        ...
