"""Who gets in and who has to leave: the overhead-aware walk over the newcomers (Andes v2's refiner).

Newcomers of the chosen batch are taken by falling priority. Each is admitted into free room, or into room made by preempting the
fewest lowest-priority requests outside the batch, if its gain exceeds theirs by the gate and exceeds what everyone running loses
during the stall it causes. The walk stops at the first refusal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled
from andes_engine.decision_buffers import N_ADMIT, N_PREEMPT, Decision, missing_tokens
from andes_engine.engine import EngineView
from andes_engine.request import Requests
from andes_engine.schedulers.andes import delay_cost
from andes_engine.step_time import prefill_seconds, step_seconds

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@compiled
def admit_newcomers(
    table: Requests,
    rows: IntArray,
    running: int,
    by_priority: IntArray,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> None:
    """Walk the newcomers by priority: admit into free room, or into room made by preempting, or stop."""
    head = plan.head
    plan.victim[: len(rows)] = False
    cap = min(view.max_num_seqs, int(round(knobs[kn.BATCH_CAP])))
    slots = cap - running
    free = view.free_blocks - int(knobs[kn.KV_RESERVE] * view.kv_blocks)
    backlog_tokens = 0
    for position in range(running):
        free -= max(plan.weight_blocks[position] - table.held_blocks[rows[position]], 0)
        backlog_tokens += missing_tokens(table, rows[position]) - 1
    for position in by_priority:
        if position < running or not plan.chosen[position]:
            continue
        if head[N_ADMIT] >= int(round(knobs[kn.ADMISSION_LIMIT])):
            break
        need = plan.weight_blocks[position]
        if slots < 1 or free < need:
            shortage = need - free, slots < 1, backlog_tokens
            freed, victims, recompute_tokens = _make_room(
                table, rows, running, by_priority, position, shortage, view, knobs, step_time, plan
            )
            if victims == 0:
                break
            free += freed
            slots += victims
            backlog_tokens += recompute_tokens
        plan.admit[head[N_ADMIT]] = rows[position]
        head[N_ADMIT] += 1
        free -= need
        slots -= 1
        backlog_tokens += missing_tokens(table, rows[position])
    if running == head[N_PREEMPT] and head[N_ADMIT] == 0 and len(rows) > running:
        _admit_one(rows, running, by_priority, plan)


@compiled
def _admit_one(rows: IntArray, running: int, by_priority: IntArray, plan: Decision) -> None:
    """Progress guarantee: an engine with nothing running opens its first waiting request."""
    for position in by_priority:
        if position >= running:
            plan.admit[0] = rows[position]
            plan.head[N_ADMIT] = 1
            return


@compiled
def _make_room(
    table: Requests,
    rows: IntArray,
    running: int,
    by_priority: IntArray,
    newcomer: int,
    shortage: tuple[int, bool, int],
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> tuple[int, int, int]:
    """Preempt the fewest lowest-priority requests outside the packed batch, if the newcomer is worth it.

    The stall it is judged by comes on top of the prefill the engine already owes (`shortage[2]`, tokens): readers' buffers
    hide the first preemptions of a burst, not the twentieth. `shortage` is the blocks missing, whether a batch slot is missing,
    and the tokens of prefill owed already.

    Returns:
        Blocks freed, victims taken, tokens to recompute; zeros if room cannot be made, or is not worth what it costs.
    """
    head = plan.head
    missing_blocks, needs_slot, owed_tokens = shortage
    budget = int(round(knobs[kn.PREEMPTION_BUDGET])) - head[N_PREEMPT]
    cap = int(round(knobs[kn.PREEMPTION_CAP]))
    freed, victims, victims_gain, recompute_tokens = 0, 0, 0.0, 0
    start = head[N_PREEMPT]
    for back in range(len(by_priority) - 1, -1, -1):
        if (freed >= missing_blocks and (victims > 0 or not needs_slot)) or victims == budget:
            break
        position = by_priority[back]
        row = rows[position]
        if position >= running or plan.chosen[position] or plan.victim[position] or table.preemptions[row] >= cap:
            continue
        plan.preempt[start + victims] = row
        plan.victim[position] = True
        victims += 1
        freed += max(plan.weight_blocks[position], table.held_blocks[row])
        victims_gain += plan.gain[position]
        recompute_tokens += table.computed_tokens[row]
    enough = victims > 0 and freed >= missing_blocks
    if enough and plan.gain[newcomer] > knobs[kn.PREEMPTION_GATE] * victims_gain:
        owed_s = prefill_seconds(step_time, owed_tokens, view.max_batched_tokens)
        stall_tokens = owed_tokens + recompute_tokens + missing_tokens(table, rows[newcomer])
        stall_s = prefill_seconds(step_time, stall_tokens, view.max_batched_tokens)
        loss = _stall_loss(table, rows, running, stall_s, view, knobs, step_time, plan)
        loss -= _stall_loss(table, rows, running, owed_s, view, knobs, step_time, plan)
        if plan.gain[newcomer] > loss:
            head[N_PREEMPT] += victims
            return freed, victims, recompute_tokens
    _release(rows, running, start, victims, plan)
    return 0, 0, 0


@compiled
def _release(rows: IntArray, running: int, start: int, victims: int, plan: Decision) -> None:
    """Take back victims that were only tried."""
    for position in range(running):
        for index in range(start, start + victims):
            if plan.preempt[index] == rows[position]:
                plan.victim[position] = False


@compiled
def _stall_loss(
    table: Requests,
    rows: IntArray,
    running: int,
    stall_s: float,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> float:
    """QoE that the running requests lose while the engine recomputes: paper v2's overhead-aware refiner."""
    token_latency_s = step_seconds(step_time, 0, running, 0, 0)
    loss = 0.0
    for position in range(running):
        if not plan.victim[position]:
            start_s = view.now_s + token_latency_s
            loss += delay_cost(
                table,
                rows[position],
                start_s,
                stall_s,
                token_latency_s,
                knobs[kn.HORIZON_S],
                knobs[kn.SUNK_LAG_WEIGHT],
            )
    return loss
