"""What a live engine has done to its requests in compiled code: the decision and, between decisions, one call an iteration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.compile_cache import compiled
from andes_engine.decision import contended, decide, example
from andes_engine.decision_buffers import N_ORDER, N_PAUSED, N_PREEMPT, PLANNED, Decision, blocks_for
from andes_engine.engine import EngineView
from andes_engine.knobs import KNOB_COUNT
from andes_engine.lengths import hazard_state, observe_censored, observe_finish
from andes_engine.lengths.hazard import refresh_state
from andes_engine.listed_rows import COUNT, LISTED, MISSING, Listed, find_row, nothing_listed
from andes_engine.live_look import look_again
from andes_engine.native import call, fetch_ahead, fetch_line_ahead, list_item, list_length, native, word_at
from andes_engine.object_fields import CLASS_BYTES
from andes_engine.observation import OBSERVATION_SIZE, observe
from andes_engine.plan_memory import PlanMemory, empty_memory
from andes_engine.request import Requests, deliver, empty_requests
from andes_engine.schedulers.vtc import charge, lift
from andes_engine.step_time import STEP_TIME_SIZE
from andes_engine.survey import Survey

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NOW_S, HOST_COPY_S_PER_BLOCK = range(2)
FREE_BLOCKS, HOST_FREE_BLOCKS, REORDERED, STILL_PAUSED = range(4)
"""Numbers in and out of `decide_live`."""

TOKENS, KIND, NAME_AT, TOKENS_AT = range(4)
"""Numbers in and out of `take_tokens`."""
OTHER_KIND = -1
_WITHOUT = -2
_AHEAD = 12
"""Objects that the processor fetches while it reads others: about as many as it can."""

_NOBODY = np.zeros(0, dtype=np.int64)
_NO_VIEW = EngineView(0.0, 0, 1, 1, 1, 1, 0, 0, 0.0)


def _deciding() -> tuple[object, ...]:
    table, _, _, view, *rest = example()
    numbers, nobody = np.zeros(4, dtype=np.int64), np.zeros(1, dtype=np.int64)
    return nothing_listed(), nothing_listed(), table, np.zeros(2), numbers, view, *rest, nobody, nobody, nobody


@native(_deciding)
def decide_live(
    running: Listed,
    waiting: Listed,
    table: Requests,
    clock: FloatArray,
    numbers: IntArray,
    limits: EngineView,
    scheduler: int,
    knobs: FloatArray,
    step_time: FloatArray,
    memory: PlanMemory,
    plan: Decision,
    counters: IntArray,
    places: IntArray,
    words: IntArray,
) -> None:
    """`decision.decide`, of which only what changes from step to step is written anew, into arrays that stay.

    Args:
        running: The running requests, found.
        waiting: Those that may be admitted, found.
        table: Live requests.
        clock: The time, and what a block takes to host memory or back, s. Shape (2,).
        numbers: Blocks that are free, here and in host memory; receives whether the order is another than before, and how many
            running requests are paused. Shape (4,).
        limits: Of the engine.
        scheduler: As in `decide`, like the next five.
        knobs: Likewise.
        step_time: Likewise.
        memory: Likewise.
        plan: Likewise.
        counters: What happened so far, in the order of `andes_engine.counters`.
        places: Receives where in the list of running requests those in `plan.order` are. Shape (max_num_seqs,).
        words: What `decide` is called with (`NativeFunction.call_words`).

    Raises:
        RuntimeError: If it failed.
    """
    view = EngineView(
        clock[NOW_S],
        numbers[FREE_BLOCKS],
        limits.kv_blocks,
        limits.block_size_tokens,
        limits.max_num_seqs,
        limits.max_batched_tokens,
        limits.prefix_caching,
        numbers[HOST_FREE_BLOCKS],
        clock[HOST_COPY_S_PER_BLOCK],
    )
    rows = running.rows[: running.what[COUNT]]
    state = (table, rows, waiting.rows[: waiting.what[COUNT]], view, scheduler)
    if call(words, (*state, knobs, step_time, memory, plan)) == 0:
        raise RuntimeError("the scheduling core failed; its own message is on stderr")
    counters[ct.DECISIONS] += plan.head[PLANNED]
    counters[ct.PLANNED_PREEMPTIONS] += plan.head[N_PREEMPT]
    counters[ct.PAUSES] += plan.head[N_PAUSED]
    numbers[REORDERED] = _find_places(plan, rows, memory.places, places)
    numbers[STILL_PAUSED] = 0
    for place in range(len(rows)):
        numbers[STILL_PAUSED] += table.paused[rows[place]] != 0


@compiled
def _find_places(plan: Decision, rows: IntArray, place_of: IntArray, places: IntArray) -> bool:
    """Whether those in the order are in another than in the list. `place_of` is scratch, by row."""
    for place in range(len(rows)):
        place_of[rows[place]] = place
    before, moved = -1, False
    for index in range(plan.head[N_ORDER]):
        places[index] = place_of[plan.order[index]]
        moved |= places[index] < before
        before = places[index]
    return moved


@native(lambda: (nothing_listed(), empty_requests(1), _NOBODY, np.zeros(1), 0, np.zeros(1), _NOBODY), locked=True)
def take_tokens(
    listed: Listed,
    table: Requests,
    given: IntArray,
    now_s: FloatArray,
    charged: int,
    user_service: FloatArray,
    counters: IntArray,
) -> None:
    """Account the tokens that came out of an iteration; does nothing if a row is not known.

    Args:
        listed: The outputs, one per request, each with its name and a list of tokens.
        table: Live requests.
        given: Receives how many tokens that is together, `OTHER_KIND` if an output is of another class; address of the class;
            where in an output its name and its tokens are (`object_fields`), bytes. Shape (4,).
        now_s: When, s. Shape (1,).
        charged: Whether users are charged for them, and for the prompt at the first (`vtc`): 0 or 1.
        user_service: Counters of the users. Shape (users,).
        counters: What happened so far, in the order of `andes_engine.counters`.
    """
    if not _find_outputs(listed, table, given):
        return
    for place in range(listed.what[COUNT]):
        row = listed.rows[place]
        if row < 0:
            continue
        tokens = list_length(word_at(list_item(listed.what[LISTED], place), given[TOKENS_AT]))
        given[TOKENS] += tokens
        if charged != 0:
            prompt = table.prompt_tokens[row] if table.emitted_tokens[row] == 0 else 0
            charge(user_service, table.user[row], prompt, tokens)
        for _ in range(tokens):
            deliver(table, row, now_s[0])
    counters[ct.DECODE_TOKENS] += given[TOKENS]


@compiled
def _find_outputs(listed: Listed, table: Requests, given: IntArray) -> bool:
    """Find the rows of outputs with tokens, `_WITHOUT` for the others; returns whether all are known."""
    what, count = listed.what, listed.what[COUNT]
    given[TOKENS] = what[MISSING] = 0
    for place in range(min(_AHEAD, count)):
        _fetch_output_ahead(list_item(what[LISTED], place), given)
    for place in range(count):
        if place + _AHEAD < count:
            _fetch_output_ahead(list_item(what[LISTED], place + _AHEAD), given)
        output = list_item(what[LISTED], place)
        if word_at(output, CLASS_BYTES) != given[KIND]:
            given[TOKENS] = OTHER_KIND
            return False
        tokens = word_at(output, given[TOKENS_AT])
        fetch_line_ahead(tokens)
        listed.rows[place] = row = find_row(word_at(output, given[NAME_AT]), listed)
        fetch_ahead(table, max(row, 0))
    for place in range(count):
        if list_length(word_at(list_item(what[LISTED], place), given[TOKENS_AT])) == 0:
            listed.rows[place] = _WITHOUT
        what[MISSING] += listed.rows[place] == -1
    return what[MISSING] == 0


@compiled
def _fetch_output_ahead(output: int, given: IntArray) -> None:
    fetch_line_ahead(output)
    fetch_line_ahead(output + given[NAME_AT])
    fetch_line_ahead(output + given[TOKENS_AT])


@native(lambda: (hazard_state(), 0, 0, 0))
def learn_length(hazard: FloatArray, prompt_tokens: int, emitted_tokens: int, ended: int) -> None:
    """Learn from a request that has left: at its end, or (`ended` 0) before it."""
    if ended != 0:
        observe_finish(hazard, prompt_tokens, emitted_tokens)
    else:
        observe_censored(hazard, prompt_tokens, emitted_tokens)


@native(lambda: (0, 0, 0.0, _NO_VIEW, np.zeros(KNOB_COUNT), np.zeros(STEP_TIME_SIZE), np.zeros(1, dtype=np.int64)))
def sure_of_room(
    live: int,
    context_tokens: int,
    strictest_s: float,
    view: EngineView,
    knobs: FloatArray,
    step_time: FloatArray,
    verdict: IntArray,
) -> None:
    """Whether `decision.contended` would say no of any requests that together are so many and so long.

    Args:
        live: Requests; more than may be admitted does no harm.
        context_tokens: Of all of them.
        strictest_s: Pace of the fastest reader, s per token.
        view: Limits of the engine.
        knobs: Vector in the order of `knobs.KNOBS`.
        step_time: Vector of `step_time.StepTime`.
        verdict: Receives 1 or 0. Shape (1,).
    """
    # each wants a block beyond those its context fills, of which one may be part empty (`decision_buffers.blocks_wanted`)
    at_most_blocks = blocks_for(context_tokens, view.block_size_tokens) + 2 * live
    crowd = Survey(live, 0, at_most_blocks, context_tokens, strictest_s, 0, 0, 0, 0, 0.0)
    verdict[0] = 0 if contended(crowd, view, knobs, step_time) else 1


lift_user = native(lambda: (np.zeros(1), 0, empty_requests(1), _NOBODY), f"{__name__}:lift_user")(lift)
"""`schedulers.vtc.lift` for a live engine."""


def _observed() -> tuple[object, ...]:
    recent, out = np.zeros(ct.COUNTER_COUNT, dtype=np.int64), np.zeros(OBSERVATION_SIZE, dtype=np.float32)
    return empty_requests(1), _NOBODY, _NOBODY, _NO_VIEW, np.zeros(STEP_TIME_SIZE), empty_memory(1), recent, 0.0, out


observe_live = native(_observed, f"{__name__}:observe_live")(observe)
"""`observation.observe` for a live engine."""

LIVE_FUNCTIONS = (
    *(decide, observe_live, take_tokens, look_again, decide_live),
    *(learn_length, sure_of_room, lift_user, refresh_state),
)
"""All compiled code of a serving process."""
