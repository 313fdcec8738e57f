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
    """One waiting request, in the engine's order; not admissible while in cooldown or blocked on something else.

    `cached_tokens` is what the prefix cache still holds of it, `host_tokens` what host memory does: resuming costs the rest.
    """

    request_id: str
    admissible: bool
    cached_tokens: int = 0
    host_tokens: int = 0


class HostRoom(NamedTuple):
    """Host memory for the KV caches of preempted requests: blocks that are free, and the time to copy one there or back, s."""

    free_blocks: int = 0
    copy_s_per_block: float = 0.0


NO_HOST = HostRoom()
"""Preempted requests lose their KV cache."""


class Plan(NamedTuple):
    """The decision for one engine step.

    Attributes:
        preempt: Running requests to preempt now.
        admit: Waiting requests that may be admitted, in this order. None: all of them, in the engine's own order.
        run_order: New order of the running list after the preemptions. None: unchanged. `running_views.RunOrder` is followed
            without looking up a name.
        token_budget: Cap on the tokens (decode and prefill) scheduled in this step. None: the engine's own.
        pause: Running requests that skip this step and keep their KV cache.
        reserve_blocks: Blocks that admission leaves free in this step, as vLLM's `--watermark`. None: the engine's own.
    """

    preempt: list[str]
    admit: list[str] | None
    run_order: Sequence[str] | None
    token_budget: int | None
    pause: Sequence[str] = ()
    reserve_blocks: int | None = None


class EngineShape(NamedTuple):
    """The capacities a planner has to respect."""

    block_size: int
    kv_blocks: int
    max_num_seqs: int
    max_batched_tokens: int
    max_model_len: int
    prefix_caching: bool = False


ComputedTokens = Callable[[Sequence[str]], Sequence[int]]
"""Tokens in the KV cache of running requests, asked for by id."""


class PlannerLike(Protocol):
    """The planner as the vLLM scheduler sees it. Request ids are vLLM's internal ones.

    Two methods are asked for where a planner has them: `step_done(now_s, prefill_tokens)` after each step, and before each
    `carry_on(now_s, running, computed_tokens) -> Plan | None`, with the number of running requests and a `ComputedTokens`: the
    plan of the step if it needs no look at the engine, which saves a pass over all requests.
    """

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: Mapping[str, object] | None
    ) -> None:
        """A request has arrived."""

    def admitted(self, request_ids: Sequence[str], now_s: float) -> None:
        """Waiting requests have joined the running ones in the step that begins now."""

    def emitted(self, tokens: Mapping[str, int], now_s: float) -> None:
        """Tokens came out, so many of each of these requests."""

    def preempted(self, request_id: str, now_s: float, computed_tokens: int) -> None:
        """A request lost its KV cache of so many tokens, planned or not."""

    def remove(self, request_id: str, finished: bool = True) -> None:
        """A request has left: finished, or cut off by its client or an error."""

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free_blocks: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        """Decide on the coming step."""
        ...
