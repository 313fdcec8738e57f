"""Who gets in and who has to leave: the overhead-aware walk over the newcomers (Andes v2's refiner).

Newcomers of the chosen batch are taken by falling priority. Each is admitted into free room, or into room made by preempting the
fewest lowest-priority requests outside the batch, if its gain exceeds theirs by the gate and exceeds what everyone running loses
during the stall it causes, weighted by the knob `stall_price`. The walk stops at the first refusal. With `waiting_stall_price`
the requests that wait behind the newcomer count as well: with long prompts it is they who pay for recomputation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.batch_choice import batch_limit, token_budget
from andes_engine.compile_cache import compiled, compiled_for_many, compiled_into_caller
from andes_engine.decision_buffers import DUE_S, LATENCY_S, N_ADMIT, N_PREEMPT, Decision, resume_tokens
from andes_engine.engine import EngineView
from andes_engine.request import Requests
from andes_engine.schedulers.andes import delay_cost
from andes_engine.step_time import prefill_seconds, step_seconds
from andes_engine.survey import Survey, horizon_seconds, standing_at
from andes_engine.turns import preemption_cap, preemption_gate

FloatArray = NDArray[np.float64]

_TOGETHER = 16
"""Running requests that are passed over together if a stall costs none of them anything."""

UNLIMITED_S = kn.KNOBS[kn.PREFILL_BACKLOG_S].high
"""Upper bound of the knob `prefill_backlog_s`, which stands for none."""


class Shortage(NamedTuple):
    """What a newcomer lacks (blocks, a batch slot), and what the engine owes already (tokens of prefill, seconds of copying)."""

    blocks: int
    needs_slot: bool
    owed_tokens: int
    owed_copy_s: float


class Room(NamedTuple):
    """What preempting gave: blocks freed, victims taken, tokens to recompute later, seconds of copying. Zeros if refused."""

    blocks: int
    victims: int
    recompute_tokens: int
    copy_s: float


@compiled_into_caller
def admit_newcomers(
    table: Requests, survey: Survey, view: EngineView, knobs: FloatArray, step_time: FloatArray, plan: Decision
) -> None:
    """Walk the newcomers by priority: admit into free room, or into room made by preempting, or stop."""
    head, rows, running = plan.head, plan.rows, survey.running
    plan.victim[: survey.live] = False
    slots = batch_limit(view, knobs) - running
    free = free_for_newcomers(survey, view, knobs)
    owed_tokens, owed_copy_s = survey.owed_tokens, 0.0
    for place in range(running, survey.live):
        position = plan.ranked[place]
        if not plan.chosen[position]:
            continue
        if head[N_ADMIT] >= int(round(knobs[kn.ADMISSION_LIMIT])) or owes_too_much(owed_tokens, view, knobs, step_time):
            break
        need = plan.weight_blocks[position]
        if slots < 1 or free < need:
            shortage = Shortage(need - free, slots < 1, owed_tokens, owed_copy_s)
            room = _make_room(table, survey, position, shortage, view, knobs, step_time, plan)
            if room.victims == 0:
                break
            free += room.blocks
            slots += room.victims
            owed_tokens += room.recompute_tokens
            owed_copy_s += room.copy_s
        plan.admit[head[N_ADMIT]] = rows[position]
        head[N_ADMIT] += 1
        free -= need
        slots -= 1
        owed_tokens += resume_tokens(table, rows[position], view, step_time)
    open_one(survey, plan)


@compiled
def owes_too_much(tokens: int, view: EngineView, knobs: FloatArray, step_time: FloatArray) -> bool:
    """Whether so many tokens of prefill take longer than the knob `prefill_backlog_s`, in full chunks of many prompts."""
    limit_s = knobs[kn.PREFILL_BACKLOG_S]
    if tokens <= 0 or limit_s >= UNLIMITED_S:
        return False
    chunk = token_budget(0, view, knobs)
    return tokens / chunk * step_seconds(step_time, chunk, 0, 0, chunk * chunk, 0) > limit_s


@compiled
def free_for_newcomers(survey: Survey, view: EngineView, knobs: FloatArray) -> int:
    """Free blocks less the reserve and less what running requests are about to grow into."""
    return view.free_blocks - int(knobs[kn.KV_RESERVE] * view.kv_blocks) - survey.growth_blocks


@compiled
def open_one(survey: Survey, plan: Decision) -> None:
    """Progress guarantee: an engine with nothing running opens its first waiting request."""
    if survey.running > plan.head[N_PREEMPT] or plan.head[N_ADMIT] > 0:
        return
    if survey.live > survey.running:
        plan.admit[0] = plan.rows[plan.ranked[survey.running]]
        plan.head[N_ADMIT] = 1


@compiled_into_caller
def _make_room(
    table: Requests,
    survey: Survey,
    newcomer: int,
    shortage: Shortage,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> Room:
    """Preempt the fewest lowest-priority requests outside the packed batch, if the newcomer is worth it."""
    head, outsiders = plan.head, plan.scratch[0]
    budget = int(round(knobs[kn.PREEMPTION_BUDGET])) - head[N_PREEMPT]
    cap = preemption_cap(survey, knobs, step_time)
    freed, victims, victims_gain, recompute, copy_s = 0, 0, 0.0, 0, 0.0
    host_room = view.host_free_blocks
    start = head[N_PREEMPT]
    for place in range(survey.running - 1, -1, -1):
        if (freed >= shortage.blocks and (victims > 0 or not shortage.needs_slot)) or victims == budget:
            break
        position = plan.ranked[place]
        row = plan.rows[position]
        if plan.chosen[position] or plan.victim[position] or table.preemptions[row] >= cap:
            continue
        plan.preempt[start + victims], outsiders[victims] = row, position
        plan.victim[position] = True
        victims += 1
        freed += max(plan.weight_blocks[position], table.held_blocks[row])
        victims_gain += plan.gain[position]
        tokens, kept_blocks = _price_of_losing(table, row, plan.weight_blocks[newcomer], host_room, view)
        recompute += tokens
        host_room -= kept_blocks
        copy_s += 2.0 * kept_blocks * view.host_copy_s_per_block
    enough = victims > 0 and freed >= shortage.blocks
    outbids = plan.gain[newcomer] > preemption_gate(survey, knobs, step_time) * victims_gain
    if (
        enough
        and outbids
        and _worth_the_stall(table, survey, newcomer, shortage, recompute, copy_s, view, knobs, step_time, plan)
    ):
        head[N_PREEMPT] += victims
        return Room(freed, victims, recompute, copy_s)
    for index in range(victims):
        plan.victim[outsiders[index]] = False
    return Room(0, 0, 0, 0.0)


@compiled
def _price_of_losing(table: Requests, row: int, need_blocks: int, host_room: int, view: EngineView) -> tuple[int, int]:
    """What preempting a request costs later: tokens to recompute, blocks kept in host memory.

    With prefix caching only what is overwritten is lost, and it is the newcomer's blocks that end up overwriting it.
    """
    computed = table.computed_tokens[row]
    full_blocks = computed // view.block_size_tokens
    if full_blocks <= host_room:
        return computed - full_blocks * view.block_size_tokens, full_blocks
    if view.prefix_caching != 0:
        return min(computed, need_blocks * view.block_size_tokens), 0
    return computed, 0


@compiled_into_caller
def _worth_the_stall(
    table: Requests,
    survey: Survey,
    newcomer: int,
    shortage: Shortage,
    recompute_tokens: int,
    copy_s: float,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> bool:
    """Whether the newcomer gains more than everyone running loses while the engine recomputes: paper v2's refiner.

    The stall comes on top of the prefill the engine already owes: readers' buffers hide the first preemptions of a burst, not the
    twentieth.
    """
    price = knobs[kn.STALL_PRICE]
    if price == 0.0:
        return True
    chunk = view.max_batched_tokens
    owed_s = prefill_seconds(step_time, shortage.owed_tokens, chunk) + shortage.owed_copy_s
    tokens = shortage.owed_tokens + recompute_tokens + resume_tokens(table, plan.rows[newcomer], view, step_time)
    stall_s = prefill_seconds(step_time, tokens, chunk) + shortage.owed_copy_s + copy_s
    bearable = plan.gain[newcomer] / price
    loss = _stall_loss(survey, newcomer, owed_s, stall_s, bearable, view, knobs, step_time, plan)
    return loss < bearable


@compiled
def _stall_loss(
    survey: Survey,
    newcomer: int,
    owed_s: float,
    stall_s: float,
    enough: float,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    plan: Decision,
) -> float:
    """QoE that the others lose if no token comes for `stall_s` instead of `owed_s`; adding up ends at `enough`."""
    token_latency_s = step_seconds(step_time, 0, survey.running, 0, 0, 0)
    horizon_s, sunk = horizon_seconds(survey, knobs), knobs[kn.SUNK_LAG_WEIGHT]
    start_s, loss = view.now_s + token_latency_s, 0.0
    waiting_price = knobs[kn.WAITING_STALL_PRICE]
    position, end = 0, survey.live if waiting_price > 0.0 else survey.running
    while position < end and loss < enough:
        ahead = position + _TOGETHER
        if ahead <= survey.running and _nobody_is_late(plan.facts, position, start_s, stall_s, token_latency_s):
            position = ahead
            continue
        if not plan.victim[position] and position != newcomer:
            stands, price = standing_at(plan, position), 1.0
            if position >= survey.running:
                start_s, price = view.now_s + plan.resume_s[position], waiting_price
            late = delay_cost(stands, start_s, stall_s, token_latency_s, horizon_s, sunk)
            if late > 0.0:
                loss += price * (late - delay_cost(stands, start_s, owed_s, token_latency_s, horizon_s, sunk))
        position += 1
    return loss


@compiled_for_many
def _nobody_is_late(facts: FloatArray, first: int, start_s: float, stall_s: float, token_latency_s: float) -> bool:
    """Whether the stall costs none of `_TOGETHER` running requests from a position on anything, as `delay_cost` has it."""
    late = 0
    for place in range(_TOGETHER):
        slow, soon = token_latency_s > facts[LATENCY_S, first + place], start_s + stall_s > facts[DUE_S, first + place]
        late += slow | soon
    return late == 0
