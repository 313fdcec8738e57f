"""The decision of the Andes authors' published code, as it is: a baseline, not the paper's algorithm.

Source: github.com/AmberLJC/vllm-0.6.1, a research fork of vLLM 0.6.1, last published state: in `vllm/core`, `andes_scheduler.py`
(`_schedule_qoe_aware`), `andes_utils/knapsack_solver.py` (`KnapSack`, greedy), `andes_utils/qoe_tracker.py` (`AvgQoEOptimizer`).

Below the watermark, and on all but every tenth iteration, waiting requests are admitted by falling gain per block. Otherwise some
running requests are put up against the waiting ones in a greedy knapsack. Its quirks are kept, and tested one by one:

1. The knapsack divides by the length once more: it ranks by gain / blocks**2.
2. The gain of a request without a token falls with its age: 1, 0.25, 0.06 at 0, 10, 30 s. The old starve.
3. As many may be preempted as recomputations fit in the slack at the 10th percentile. With more than 10 % of requests late that
   is none; then nothing is chosen either, and waiting requests are admitted first come, first served.
4. Put up are the *first* running requests worth no more than the best waiting one, not the least valued.
5. Their values and lengths are listed in the order of a Python set of indices, the requests by index: from 9 running requests on,
   values may belong to somebody else.
6. NOT kept: swapped requests beyond the budget are marked finished there. Requests would be lost, so here nobody is swapped.
7. One token latency for all batch sizes (20 ms), no search for the batch size, no latency profile, no refiner.
8. Blocks are rounded half to even, so a length that fills its blocks exactly weighs one block more or none, in turn.

Deviations: vLLM 0.6.1 does not decode in an iteration that admits, and puts a victim at the end of the queue; both are the
engine's business, and vLLM V1 does otherwise. Admission stops at the first request whose sequence does not fit, as vLLM's does.
The last published state has no cap on preemptions per request (the rate limit `preemption_freq` is commented out), nor has this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import (
    GATED,
    N_ADMIT,
    N_ORDER,
    N_PREEMPT,
    PLANNED,
    TOKEN_BUDGET,
    Decision,
    blocks_for,
)
from andes_engine.engine import EngineView
from andes_engine.request import Requests, context_tokens
from andes_engine.schedulers.cpython_set import set_order

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PREEMPTIVE = True

HORIZON_S = 10.0
TOKEN_LATENCY_S = 0.02
WATERMARK = 0.9
RUNNING_BONUS = 0.1
LATE_SHARE = 0.1
"""Share of requests whose slack does not count."""

RECOMPUTE_S_PER_TOKEN = 3 / 90_000
PLAN_EVERY_ITERATIONS = 10


@compiled
def authors_gain(table: Requests, row: int, is_running: bool, now_s: float) -> float:
    """QoE gain as the code has it: squared shares of the tokens expected by the horizon, served minus waiting, with the bonus."""
    latency_s, ttft_s, tokens = table.latency_s[row], table.ttft_s[row], table.emitted_tokens[row]
    age_s = now_s - table.arrival_s[row]
    expected = (age_s + HORIZON_S) * (1.0 / latency_s)
    if tokens > 0 and table.last_token_s[row] - table.arrival_s[row] < ttft_s + tokens * latency_s:
        served = 1.0
    else:
        share = (tokens + HORIZON_S / max(latency_s, TOKEN_LATENCY_S)) / expected
        served = min(1.0, share * share)
    if tokens == 0:
        waited = 1.0 if age_s + HORIZON_S <= ttft_s else 0.0
    elif expected <= tokens:
        waited = 1.0
    else:
        missing = (expected - tokens) / expected
        waited = 1.0 - missing * missing
    return (served - waited) * (1.0 + RUNNING_BONUS * is_running)


@compiled
def authors_slack_s(table: Requests, row: int, now_s: float) -> float:
    """Time until the next token is due on the timeline expected at arrival, s."""
    due_s = table.emitted_tokens[row] * table.latency_s[row] + table.ttft_s[row]
    return due_s - (now_s - table.arrival_s[row])


@compiled
def authors_blocks(table: Requests, row: int, block_size_tokens: int) -> int:
    """Blocks of a sequence and its next token, rounded half to even (quirk 8)."""
    return int(np.rint((context_tokens(table, row) + 1) / block_size_tokens + 0.5))


@compiled
def plan_authors_code(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    knobs: FloatArray,
    plan: Decision,
    iteration: int = 0,
) -> None:
    """Decide on one iteration as the published code does.

    Args:
        table: Live requests.
        running: Rows of running requests in the engine's order. Shape (r,).
        waiting: Rows of waiting requests in the engine's order. Shape (w,).
        view: Engine state and limits.
        knobs: Ignored: the code has its own constants, above.
        plan: Receives admit, preempt, order and head.
        iteration: Number of the iteration; only every `PLAN_EVERY_ITERATIONS`-th preempts.
    """
    head = plan.head
    head[:] = 0
    head[GATED], head[TOKEN_BUDGET] = 1, view.max_batched_tokens
    value, blocks = _values(table, running, waiting, view)
    stays = np.ones(len(running), dtype=np.bool_)
    free = max(view.free_blocks - len(running), 0)
    used = (view.kv_blocks - free) / view.kv_blocks if iteration % PLAN_EVERY_ITERATIONS == 0 else 0.0
    if used < WATERMARK:
        chosen = len(running) + np.argsort(-value[len(running) :], kind="mergesort")
    else:
        head[PLANNED] = 1
        chosen = np.arange(len(running), len(running) + len(waiting))
        cap = _preemptions_allowed(table, running, waiting, view, blocks)
        if cap >= 1:
            chosen = _pack(value, blocks, len(running), cap, view.kv_blocks, stays)
    _fill(table, running, waiting, view, chosen, stays, plan)


@compiled
def _values(table: Requests, running: IntArray, waiting: IntArray, view: EngineView) -> tuple[FloatArray, IntArray]:
    """Gain per block and blocks, running requests first."""
    n = len(running) + len(waiting)
    value, blocks = np.empty(n), np.empty(n, dtype=np.int64)
    for position in range(n):
        is_running = position < len(running)
        row = running[position] if is_running else waiting[position - len(running)]
        blocks[position] = authors_blocks(table, row, view.block_size_tokens)
        value[position] = authors_gain(table, row, is_running, view.now_s) / blocks[position]
    return value, blocks


@compiled
def _preemptions_allowed(
    table: Requests, running: IntArray, waiting: IntArray, view: EngineView, blocks: IntArray
) -> int:
    """How many recomputations fit in the slack of the request at the late share (quirk 3); none if nobody waits."""
    n = len(blocks)
    if len(waiting) == 0:
        return 0
    slack_s = np.empty(n)
    for position in range(n):
        row = running[position] if position < len(running) else waiting[position - len(running)]
        slack_s[position] = authors_slack_s(table, row, view.now_s)
    slack_s.sort()
    overhead_s = RECOMPUTE_S_PER_TOKEN * view.block_size_tokens * blocks.sum() / n
    return int(slack_s[int(LATE_SHARE * n)] // overhead_s)


@compiled
def _pack(value: FloatArray, blocks: IntArray, running: int, cap: int, kv_blocks: int, stays: BoolArray) -> IntArray:
    """Knapsack over some running requests and all waiting ones; returns the positions of the waiting ones taken, in its order."""
    threshold = value[running:].max()
    up = np.flatnonzero(value[:running] <= threshold)[:cap]  # quirk 4
    listed = np.concatenate((set_order(up), np.arange(running, len(value))))  # quirk 5
    stays[up] = False
    room = kv_blocks - blocks[:running][stays].sum()
    density = value[listed] / blocks[listed]  # quirk 1
    taken = np.empty(len(listed), dtype=np.int64)
    count = 0
    for item in np.argsort(-density, kind="mergesort"):
        room -= blocks[listed[item]]
        if room < 0:
            break
        if item < len(up):
            stays[up[item]] = True  # the request by index, though density and blocks were those of `listed[item]`
        else:
            taken[count] = listed[item]
            count += 1
    return taken[:count]


@compiled
def _fill(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    chosen: IntArray,
    stays: BoolArray,
    plan: Decision,
) -> None:
    """Write the decision: who leaves, who stays in the engine's order, and who gets in until one does not fit."""
    head, free = plan.head, view.free_blocks
    for position in range(len(running)):
        if stays[position]:
            plan.order[head[N_ORDER]] = running[position]
            head[N_ORDER] += 1
        else:
            plan.preempt[head[N_PREEMPT]] = running[position]
            head[N_PREEMPT] += 1
            free += table.held_blocks[running[position]]
    for position in chosen:
        row = waiting[position - len(running)]
        free -= blocks_for(context_tokens(table, row), view.block_size_tokens)
        if free < 0 or head[N_ORDER] + head[N_ADMIT] >= view.max_num_seqs:
            return
        plan.admit[head[N_ADMIT]] = row
        head[N_ADMIT] += 1
