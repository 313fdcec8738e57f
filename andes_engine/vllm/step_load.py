"""What one engine step asks of the device, read from vLLM's `SchedulerOutput` (`vllm/v1/core/sched/output.py`, 0.32.0)."""

from typing import Any, NamedTuple


class StepLoad(NamedTuple):
    """Regressors of the step-time model.

    Attributes:
        prefill_tokens: Prompt (or recomputed) tokens in the step.
        decode_seqs: Sequences that decode one token.
        context_tokens: KV tokens those decoding sequences attend to, summed.
        sum_sq_prefill: Sum of squared prefill chunk lengths, tokens squared.
        prefill_context: Sum over prefill chunks of their length times the tokens computed before, tokens squared.
    """

    prefill_tokens: int
    decode_seqs: int
    context_tokens: int
    sum_sq_prefill: int
    prefill_context: int


def prefill_tokens(scheduler_output: Any) -> int:
    """`step_load(...).prefill_tokens`, at the price of a few scans where every request under way has output."""
    scheduled, cached = scheduler_output.num_scheduled_tokens, scheduler_output.scheduled_cached_reqs
    joined = scheduler_output.scheduled_new_reqs or cached.resumed_req_ids
    one_each = len(scheduled) == scheduler_output.total_num_scheduled_tokens
    if one_each and not joined and 0 not in cached.num_output_tokens:
        return 0
    if 0 in cached.num_output_tokens or 0 in cached.num_computed_tokens:
        return step_load(scheduler_output).prefill_tokens
    new_of_one = sum(scheduled[new.req_id] == 1 for new in scheduler_output.scheduled_new_reqs)
    decodes = [*scheduled.values()].count(1) - new_of_one
    return int(scheduler_output.total_num_scheduled_tokens) - decodes


def step_load(scheduler_output: Any) -> StepLoad:
    """Split the scheduled tokens into prefill chunks and decodes, as the simulator does (`sim.load.note_load`).

    One token of a response under way, on top of a context, is a decode, also where it ends a recomputation; it attends to itself.
    """
    scheduled = scheduler_output.num_scheduled_tokens
    chunks = [(scheduled[new.req_id], new.num_computed_tokens) for new in scheduler_output.scheduled_new_reqs]
    cached = scheduler_output.scheduled_cached_reqs
    decode_seqs = context_tokens = 0
    known = zip(cached.req_ids, cached.num_computed_tokens, cached.num_output_tokens, strict=True)
    for request_id, computed_tokens, output_tokens in known:
        if scheduled[request_id] == 1 and output_tokens > 0 and computed_tokens > 0:
            decode_seqs += 1
            context_tokens += computed_tokens + 1
        else:
            chunks.append((scheduled[request_id], computed_tokens))
    return StepLoad(
        prefill_tokens=sum(tokens for tokens, _ in chunks),
        decode_seqs=decode_seqs,
        context_tokens=context_tokens,
        sum_sq_prefill=sum(tokens * tokens for tokens, _ in chunks),
        prefill_context=sum(tokens * before for tokens, before in chunks),
    )
