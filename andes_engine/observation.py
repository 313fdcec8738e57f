"""What a policy sees: a versioned list of features, computed by one function from what a real server can know.

Never the output length. Every feature has a fixed scale, so that nothing but the bundle is needed to deploy a policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import blocks_wanted, missing_tokens
from andes_engine.engine import EngineView
from andes_engine.plan_memory import PlanMemory, expect
from andes_engine.request import Requests, context_tokens, next_due_s, qoe_so_far
from andes_engine.step_time import prefill_seconds, step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

OBSERVATION_VERSION = "andes-obs-2"
BOUND = 10.0
"""Features are clipped to [-BOUND, BOUND]."""

_SLACK_SCALE_S = 30.0
_AHEAD_S = 10.0
_FRESH_S = 15.0


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of the observation."""

    name: str
    unit: str
    meaning: str


FEATURES: tuple[Feature, ...] = (
    Feature("running_share", "share", "running sequences over max_num_seqs"),
    Feature("waiting", "log1p(requests)/5", "requests in the queue"),
    Feature("kv_used", "share", "KV blocks in use"),
    Feature("kv_demand", "log1p(share)", "KV blocks that serving everyone would take, over capacity"),
    Feature("running_slack", "30 s", "mean time until running readers run out, clipped to +-30 s"),
    Feature("running_late", "share", "running requests whose reader has run out"),
    Feature("running_ahead", "share", "running requests at least 10 s ahead of their reader"),
    Feature("waiting_slack", "30 s", "mean time until waiting readers run out, clipped to +-30 s"),
    Feature("waiting_late", "share", "waiting requests whose reader has run out"),
    Feature("waiting_unseen", "share", "waiting requests that have had no token"),
    Feature("oldest_age", "log1p(s)/5", "age of the oldest waiting request"),
    Feature("waiting_size", "share", "mean KV blocks of a waiting request over mean of a running one, log2 / 4"),
    Feature("lag", "log1p(s)/5", "mean lag of live readers"),
    Feature("qoe", "1", "mean QoE so far of live requests"),
    Feature("preempted", "share", "live requests preempted at least once"),
    Feature("inflow", "1", "arrivals minus departures over their sum, since the last decision"),
    Feature("arrivals", "log1p(requests/s)/3", "arrival rate since the last decision"),
    Feature("preemptions", "log1p(1/request)", "preemptions per arrival since the last decision"),
    Feature("supply", "log2/4", "tokens delivered per s since the last decision over what live readers take in per s"),
    Feature("prefilling", "share", "running requests still in prefill"),
    Feature("context", "log2(tokens)/16", "mean context of running requests"),
    Feature("pace", "log2/4", "predicted token latency of the running batch over the strictest reader's"),
    Feature("backlog", "log1p(s)/5", "prefill time of the whole queue"),
    Feature("emitted", "log2(tokens)/12", "mean tokens delivered of running requests"),
    Feature(
        "prefill_pace", "log2/4", "predicted iteration with all the prefill that fits over the strictest reader's pace"
    ),
    Feature(
        "slowness", "log2/2", "time per iteration since the last decision over what the step-time model says of it"
    ),
    Feature(
        "remaining", "log2(tokens)/12", "mean output still expected of running requests; 0 without a length source"
    ),
    Feature("fresh", "share", "live requests that arrived less than 15 s ago: the trend of arrivals"),
)

OBSERVATION_SIZE = len(FEATURES)


@compiled
def observe(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    step_time: FloatArray,
    memory: PlanMemory,
    recent: IntArray,
    elapsed_s: float,
    out: NDArray[np.float32],
) -> None:
    """Write the observation.

    Args:
        table: Live requests.
        running: Rows of running requests. Shape (r,).
        waiting: Rows of waiting requests. Shape (w,).
        view: Engine state and limits.
        step_time: Vector of `step_time.StepTime`.
        memory: What decisions remember; its length source says what is expected of running requests.
        recent: Counters (`counters`) since the last decision.
        elapsed_s: Time since the last decision, s; 0 at the first.
        out: Receives the features in the order of `FEATURES`. Shape (OBSERVATION_SIZE,).
    """
    r, w = len(running), len(waiting)
    out[:] = 0.0
    out[0] = r / view.max_num_seqs
    out[1] = np.log1p(w) / 5.0
    out[2] = 1.0 - view.free_blocks / view.kv_blocks
    out[13] = 1.0
    if r + w > 0:
        expect(table, running, memory)
        _observe_group(table, running, view.now_s, out, 4, 5, 6, -1)
        _observe_group(table, waiting, view.now_s, out, 7, 8, -1, 9)
        running_blocks, waiting_blocks = _observe_live(table, running, waiting, view, out)
        _observe_load(table, running, waiting, view, step_time, recent, elapsed_s, out)
        out[3] = np.log1p((running_blocks + waiting_blocks) / view.kv_blocks)
        if r > 0 and w > 0:
            out[11] = np.log2((waiting_blocks / w) / (running_blocks / r)) / 4.0
    _observe_recent(recent, elapsed_s, out)
    for index in range(len(out)):
        out[index] = min(max(out[index], -BOUND), BOUND)


@compiled
def _observe_group(
    table: Requests,
    rows: IntArray,
    now_s: float,
    out: NDArray[np.float32],
    slack: int,
    late: int,
    ahead: int,
    unseen: int,
) -> None:
    """Slack statistics of one queue, as shares and means."""
    if len(rows) == 0:
        return
    share = 1.0 / len(rows)
    for row in rows:
        slack_s = next_due_s(table, row) - now_s
        out[slack] += share * min(max(slack_s / _SLACK_SCALE_S, -1.0), 1.0)
        if slack_s < 0.0:
            out[late] += share
        if ahead >= 0 and slack_s >= _AHEAD_S:
            out[ahead] += share
        if unseen >= 0 and table.emitted_tokens[row] == 0:
            out[unseen] += share


@compiled
def _observe_live(
    table: Requests, running: IntArray, waiting: IntArray, view: EngineView, out: NDArray[np.float32]
) -> tuple[int, int]:
    """Means over all live requests; returns the blocks wanted by running and by waiting ones."""
    blocks, running_blocks = 0, 0
    share = 1.0 / (len(running) + len(waiting))
    lag_s, qoe, preempted, oldest_s, fresh = 0.0, 0.0, 0.0, 0.0, 0.0
    for group, rows in enumerate((running, waiting)):
        for row in rows:
            blocks += blocks_wanted(context_tokens(table, row), view.block_size_tokens)
            if group == 0:
                running_blocks = blocks
            lag_s += share * max(table.lateness_s[row], 0.0)
            qoe += share * qoe_so_far(table, row)
            preempted += share * (table.preemptions[row] > 0)
            age_s = view.now_s - table.arrival_s[row]
            fresh += share * (age_s < _FRESH_S)
            if group == 1:
                oldest_s = max(oldest_s, age_s)
    out[10] = np.log1p(oldest_s) / 5.0
    out[12] = np.log1p(lag_s) / 5.0
    out[13] = qoe
    out[14] = preempted
    out[27] = fresh
    return running_blocks, blocks - running_blocks


@compiled
def _observe_load(
    table: Requests,
    running: IntArray,
    waiting: IntArray,
    view: EngineView,
    step_time: FloatArray,
    recent: IntArray,
    elapsed_s: float,
    out: NDArray[np.float32],
) -> None:
    """What the engine has to do, and how fast it is at it."""
    context, emitted, prefilling, strictest_s, backlog = 0, 0, 0, np.inf, 0
    appetite, remaining, strictest_waiting_s = 0.0, 0.0, np.inf
    for row in running:
        context += context_tokens(table, row)
        emitted += table.emitted_tokens[row]
        prefilling += missing_tokens(table, row) > 1
        if table.remaining_tokens[row] > 0.0:  # false for NaN: nobody knows
            remaining += table.remaining_tokens[row]
        strictest_s = min(strictest_s, table.latency_s[row])
        appetite += 1.0 / table.latency_s[row]
    for row in waiting:
        backlog += missing_tokens(table, row)
        strictest_waiting_s = min(strictest_waiting_s, table.latency_s[row])
        appetite += 1.0 / table.latency_s[row]
    out[22] = np.log1p(prefill_seconds(step_time, backlog, view.max_batched_tokens)) / 5.0
    if elapsed_s > 0.0:
        out[18] = np.log2((recent[ct.DECODE_TOKENS] / elapsed_s + 1.0) / (appetite + 1.0)) / 4.0
    chunk = view.max_batched_tokens
    full_s = step_seconds(step_time, chunk, len(running), context, chunk * chunk, 0)
    out[24] = np.log2(full_s / min(strictest_s, strictest_waiting_s)) / 4.0
    if len(running) > 0:
        count = len(running)
        if elapsed_s > 0.0 and recent[ct.STEPS] > 0:
            out[25] = np.log2(elapsed_s / recent[ct.STEPS] / _predicted_s(step_time, recent, count, context)) / 2.0
        out[26] = np.log2(1.0 + remaining / count) / 12.0
        out[19] = prefilling / count
        out[20] = np.log2(1.0 + context / count) / 16.0
        out[21] = np.log2(step_seconds(step_time, 0, count, context, 0, 0) / strictest_s) / 4.0
        out[23] = np.log2(1.0 + emitted / count) / 12.0


@compiled
def _predicted_s(step_time: FloatArray, recent: IntArray, running: int, context: int) -> float:
    """Mean iteration since the last decision as the model has it: with the prefill there was, and the batch there is."""
    steps, chunk = recent[ct.STEPS], recent[ct.PREFILL_TOKENS] / recent[ct.STEPS]
    decodes = min(recent[ct.DECODE_TOKENS] // steps, running)
    return step_seconds(step_time, int(chunk), decodes, context, int(chunk * chunk), 0)


@compiled
def _observe_recent(recent: IntArray, elapsed_s: float, out: NDArray[np.float32]) -> None:
    """Flow since the last decision."""
    arrived, finished = recent[ct.ARRIVED], recent[ct.FINISHED]
    out[15] = (arrived - finished) / max(arrived + finished, 1)
    if elapsed_s > 0.0:
        out[16] = np.log1p(arrived / elapsed_s) / 3.0
    out[17] = np.log1p(recent[ct.PREEMPTIONS] / (arrived + 1.0))
