"""What an engine counts, cumulative since its start; the simulator and the vLLM planner keep the same vector."""

(
    STEPS,
    PREFILL_TOKENS,
    DECODE_TOKENS,
    PREEMPTIONS,
    PLANNED_PREEMPTIONS,
    FINISHED,
    ARRIVED,
    DECISIONS,
    ABORTED,
    PAUSES,
    COPIED_BLOCKS,
) = range(11)
"""DECODE_TOKENS are tokens delivered to readers; PREFILL_TOKENS include recomputation. FINISHED are requests that have left
for whatever reason, ABORTED those whose reader left first. PAUSES are iterations that a running request skipped; COPIED_BLOCKS
went to or came from host memory."""

COUNTER_COUNT = 11
