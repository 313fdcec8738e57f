"""What a live engine does to its request table between decisions: one native call for all requests of an iteration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.decision import contended, decide
from andes_engine.decision_buffers import blocks_for
from andes_engine.engine import EngineView
from andes_engine.knobs import KNOB_COUNT
from andes_engine.lengths import hazard_state, observe_censored, observe_finish
from andes_engine.lengths.hazard import refresh_state
from andes_engine.native import native
from andes_engine.observation import OBSERVATION_SIZE, observe
from andes_engine.plan_memory import empty_memory
from andes_engine.request import Requests, deliver, empty_requests
from andes_engine.schedulers.vtc import charge, lift
from andes_engine.step_time import STEP_TIME_SIZE
from andes_engine.survey import Survey

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NOBODY = np.zeros(0, dtype=np.int64)
_NO_VIEW = EngineView(0.0, 0, 1, 1, 1, 1, 0, 0, 0.0)


@native(lambda: (empty_requests(1), _NOBODY, _NOBODY, _NOBODY, np.zeros(1), 0, np.zeros(1), _NOBODY))
def take_tokens(
    table: Requests,
    rows: IntArray,
    tokens: IntArray,
    count: IntArray,
    now_s: FloatArray,
    charged: int,
    user_service: FloatArray,
    counters: IntArray,
) -> None:
    """Account the tokens that came out of an iteration.

    Args:
        table: Live requests.
        rows: Who got tokens, in the first `count` places. Shape (room,).
        tokens: How many each. Shape (room,).
        count: Requests that got some. Shape (1,).
        now_s: When, s. Shape (1,).
        charged: Whether users are charged for them, and for the prompt at the first (`vtc`): 0 or 1.
        user_service: Counters of the users. Shape (users,).
        counters: What happened so far, in the order of `andes_engine.counters`.
    """
    for place in range(count[0]):
        row = rows[place]
        counters[ct.DECODE_TOKENS] += tokens[place]
        if charged != 0:
            prompt = table.prompt_tokens[row] if table.emitted_tokens[row] == 0 else 0
            charge(user_service, table.user[row], prompt, tokens[place])
        for _ in range(tokens[place]):
            deliver(table, row, now_s[0])


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

LIVE_FUNCTIONS = (decide, observe_live, take_tokens, learn_length, sure_of_room, lift_user, refresh_state)
"""All compiled code of a serving process."""
