"""The live requests at a glance, and what a plan needs of each of them side by side.

A table keeps what belongs to one request together, which suits whoever touches a few. A plan goes over all of them several times,
so the survey lays out what it looks at by kind, once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled, compiled_for_many, compiled_into_caller
from andes_engine.decision_buffers import (
    ARRIVAL_S,
    DUE_S,
    EMITTED,
    LAG_SUM_S,
    LATE_S,
    LATENCY_S,
    REMAINING,
    Decision,
    PositionArray,
    blocks_wanted,
    missing_tokens,
)
from andes_engine.engine import EngineView
from andes_engine.plan_memory import PlanMemory, expect
from andes_engine.request import Requests, context_tokens
from andes_engine.schedulers.andes import Standing, standing

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Survey(NamedTuple):
    """The live requests together: how many, how many of them run, blocks wanted, context tokens, strictest pace.

    Of those that run also the blocks they are about to take, and the tokens they have to compute before their next one comes out.
    `unusual_from`: no position before it `is_unusual`. `queued_tokens`: what those that wait must compute.
    `reading_s`: time that their readers need for the output still expected, summed; NaN if nobody knows of one.
    """

    live: int
    running: int
    wanted_blocks: int
    context_tokens: int
    strictest_s: float
    growth_blocks: int
    owed_tokens: int
    queued_tokens: int
    unusual_from: int
    reading_s: float


class Group(NamedTuple):
    """Sums over the running or the waiting requests, as in `Survey`."""

    wanted_blocks: int
    context_tokens: int
    strictest_s: float
    growth_blocks: int
    owed_tokens: int
    unusual: bool
    reading_s: float


@compiled_into_caller
def look_over(
    table: Requests, running: IntArray, waiting: IntArray, view: EngineView, memory: PlanMemory, plan: Decision
) -> Survey:
    """List the live requests in `plan`, running first: the blocks each wants, what it lacks and where its reader stands.

    Leaves in the table what the length source expects of them.
    """
    expect(table, running, memory)
    expect(table, waiting, memory)
    run = _lay_out(table, running, 0, view, plan)
    wait = _lay_out(table, waiting, len(running), view, plan)
    live = len(running) + len(waiting)
    return Survey(
        live,
        len(running),
        run.wanted_blocks + wait.wanted_blocks,
        run.context_tokens + wait.context_tokens,
        min(run.strictest_s, wait.strictest_s),
        run.growth_blocks,
        run.owed_tokens,
        wait.owed_tokens + len(waiting),
        0 if run.unusual else len(running) if wait.unusual else live,
        run.reading_s + wait.reading_s,
    )


@compiled
def _lay_out(table: Requests, group: IntArray, first: int, view: EngineView, plan: Decision) -> Group:
    """Write what `look_over` leaves of each request of a group, from position `first` on."""
    end = first + len(group)
    rows, blocks, missing = plan.rows[first:end], plan.weight_blocks[first:end], plan.missing[first:end]
    held = plan.scratch[0][first:end]
    elsewhere = _gather(table, group, rows, blocks, missing, held)
    wanted, context, growth, owed, most = _count_blocks(view.block_size_tokens, held, blocks, missing)
    strictest_s, reading_s = _lay_out_readers(table, rows, first, plan)
    unusual = most > view.max_batched_tokens or elsewhere != 0
    return Group(wanted, context, strictest_s, growth, owed, unusual, reading_s)


@compiled
def _gather(
    table: Requests, group: IntArray, rows: PositionArray, context: IntArray, missing: IntArray, held: PositionArray
) -> int:
    """Write the rows of a group, and of each its context tokens, what it lacks and the blocks it holds.

    Returns 0 if the KV of none of them lies elsewhere. Only reads and writes; `_count_blocks` counts.
    """
    unsigned, elsewhere = group.view(np.uint64), 0  # see `ranking`
    for place in range(len(group)):
        row = unsigned[place]
        tokens, lacks, blocks = context_tokens(table, row), missing_tokens(table, row), table.held_blocks[row]
        elsewhere |= table.cached_tokens[row] | table.host_tokens[row]
        # last: what may have been changed is read again
        rows[place], context[place], missing[place], held[place] = row, tokens, lacks, blocks
    return elsewhere


@compiled_for_many
def _count_blocks(
    block_size_tokens: int, held: PositionArray, blocks: IntArray, missing: IntArray
) -> tuple[int, int, int, int, int]:
    """Replace context tokens by the blocks they want.

    Returns sums: blocks wanted, context tokens, blocks wanted beyond those held, tokens owed; and the most that one lacks.
    """
    wanted, context, growth, owed, most = 0, 0, 0, 0, 0
    for place in range(len(blocks)):
        tokens, lacks = blocks[place], missing[place]
        wants = blocks_wanted(tokens, block_size_tokens)
        wanted += wants
        context += tokens
        growth += max(wants - np.int64(held[place]), 0)
        owed += lacks - 1
        most = max(most, lacks)
        blocks[place] = wants
    return wanted, context, growth, owed, most


@compiled
def _lay_out_readers(table: Requests, rows: PositionArray, first: int, plan: Decision) -> tuple[float, float]:
    """Write where the reader of each request stands but for its lags, from position `first` on.

    Returns their strictest pace and `Survey.reading_s`. By itself, as there are only so many registers to keep addresses in.
    """
    facts = plan.facts
    arrival_s, due_s, latency_s = facts[ARRIVAL_S][first:], facts[DUE_S][first:], facts[LATENCY_S][first:]
    emitted, remaining = facts[EMITTED][first:], facts[REMAINING][first:]
    strictest_s, reading_s = np.inf, 0.0
    for place in range(len(rows)):
        row = rows[place]
        stands = standing(table, row)
        arrival_s[place], due_s[place], latency_s[place] = table.arrival_s[row], stands.due_s, stands.latency_s
        emitted[place], remaining[place] = stands.emitted_tokens, stands.remaining_tokens
        strictest_s = min(strictest_s, stands.latency_s)
        reading_s += stands.remaining_tokens * stands.latency_s
    return strictest_s, reading_s


@compiled
def horizon_seconds(survey: Survey, knobs: FloatArray) -> float:
    """How far ahead being served is compared with waiting, s: knobs `horizon_s` and `horizon_growth`.

    Whoever is not served waits until there is room, and that is sooner where responses are short.
    """
    horizon_s, growth = knobs[kn.HORIZON_S], knobs[kn.HORIZON_GROWTH]
    if growth > 0.0 and survey.reading_s > 0.0:  # false for NaN: nobody knows
        horizon_s *= (survey.reading_s / survey.live / kn.USUAL_READING_S) ** growth
    return horizon_s


@compiled
def lay_out_lags(table: Requests, survey: Survey, plan: Decision) -> None:
    """Write how late each reader's tokens were, for who weighs lag that cannot be undone; by default nobody does."""
    late_s, lag_sum_s = plan.facts[LATE_S], plan.facts[LAG_SUM_S]
    for position in range(survey.live):
        stands = standing(table, plan.rows[position])
        late_s[position], lag_sum_s[position] = stands.late_s, stands.lag_sum_s


@compiled
def is_unusual(table: Requests, row: int, missing: int, view: EngineView) -> bool:
    """Whether a request may resume by another way than one prefill of what is missing: in chunks, or with kept tokens."""
    return (missing > view.max_batched_tokens) | (table.cached_tokens[row] > 0) | (table.host_tokens[row] > 0)


@compiled
def standing_at(plan: Decision, position: int) -> Standing:
    """Where the reader at a position of the survey stands; its lags are those of the last `lay_out_lags`."""
    facts = plan.facts
    return Standing(
        facts[EMITTED, position],
        facts[LATENCY_S, position],
        facts[REMAINING, position],
        facts[DUE_S, position],
        facts[LATE_S, position],
        facts[LAG_SUM_S, position],
    )
