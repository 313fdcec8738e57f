"""What an engine counts, cumulative since its start; the simulator and the vLLM planner keep the same vector."""

STEPS, PREFILL_TOKENS, DECODE_TOKENS, PREEMPTIONS, PLANNED_PREEMPTIONS, FINISHED, ARRIVED, DECISIONS = range(8)
"""DECODE_TOKENS are tokens delivered to readers; PREFILL_TOKENS include recomputation."""

COUNTER_COUNT = 8
