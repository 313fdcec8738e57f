"""Steps of a real engine whose plan follows without a look at it: at hundreds of requests, looking costs more than deciding.

Between plans (knob `planning_period_s`) what was decided stands. And where a bound says that all live requests would fit and keep
pace, the trigger of Andes (`decision.contended`) would leave the engine alone, whatever each request's state. Both give the same
plan as a look would (`tests/parity/test_quiet_steps.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.admission import UNLIMITED_S
from andes_engine.batch_choice import token_budget
from andes_engine.engine import EngineView
from andes_engine.live_requests import LiveRequests
from andes_engine.live_steps import sure_of_room
from andes_engine.plan_memory import GATE_SHUT, NEXT_PLAN_S
from andes_engine.schedulers import AUTHORS_CODE, SARATHI
from andes_engine.vllm.contract import ComputedTokens, Plan

FloatArray = NDArray[np.float64]


_AHEAD_TOKENS = 64
"""What each request may grow by before the bound is asked again; it only rises with requests and tokens."""


class Crowd(NamedTuple):
    """Requests as the bound sees them: how many, their tokens together, and the pace of the fastest reader, s per token."""

    live: int
    context_tokens: int
    strictest_s: float


_NOBODY = Crowd(0, 0, np.inf)


class QuietSteps:
    """Answers for a planner where it can.

    Args:
        scheduler: Number from `schedulers.SCHEDULERS`.
        step_time: Vector of `step_time.StepTime`.
        requests: The live requests.
    """

    def __init__(self, scheduler: int, step_time: FloatArray, requests: LiveRequests) -> None:
        self._can = scheduler > SARATHI and scheduler != AUTHORS_CODE  # these two look at each request, or count steps
        self._step_time = step_time
        self._requests = requests
        self._verdict = np.zeros(1, dtype=np.int64)
        self._knobs: FloatArray | None = None  # of which the next two are true
        self._sure_up_to, self._unlimited = _NOBODY, False
        self._arguments = sure_of_room.arguments(
            0, 0, 0.0, EngineView(0.0, 0, 1, 1, 1, 1, 0, 0, 0.0), np.zeros(kn.KNOB_COUNT), step_time, self._verdict
        )

    def plan(
        self, now_s: float, running: int, view: EngineView, knobs: FloatArray, computed_tokens: ComputedTokens
    ) -> Plan | None:
        """The plan of a step, or None if it needs a look.

        Args:
            now_s: The time, s.
            running: Running requests.
            view: Limits of the engine; its time, and what is free, do not matter.
            knobs: Vector in the order of `knobs.KNOBS`.
            computed_tokens: Asked about requests whose prompts are being computed.
        """
        if not self._can:
            return None
        if knobs is not self._knobs:  # each decision of a policy makes new ones
            self._knobs, self._sure_up_to = knobs, _NOBODY
            self._unlimited = token_budget.py_func(0, view, knobs) == view.max_batched_tokens
        rhythm = self._requests.memory.rhythm
        if running > 0 and now_s < rhythm[NEXT_PLAN_S]:
            shut = rhythm[GATE_SHUT] != 0.0
        elif rhythm[GATE_SHUT] == 0.0 and self._sure_of_room(view, knobs):
            shut = False  # had it been shut, a look would have found no room at the last plan
            rhythm[NEXT_PLAN_S], rhythm[GATE_SHUT] = now_s + knobs[kn.PLANNING_PERIOD_S], 0.0
        else:
            return None
        return Plan([], [] if shut else None, None, self._token_budget(running, view, knobs, computed_tokens))

    def _sure_of_room(self, view: EngineView, knobs: FloatArray) -> bool:
        requests = self._requests
        live = len(requests.table)
        if live == 0:
            return True
        if knobs[kn.PREFILL_BACKLOG_S] < UNLIMITED_S and requests.owe_prefill:
            return False  # how much, only a look can tell
        known, context_tokens, strictest_s = self._sure_up_to, requests.context_tokens, float(requests.strictest_s)
        if live <= known.live and context_tokens <= known.context_tokens and strictest_s >= known.strictest_s:
            return True
        sure = False
        for tokens in (context_tokens, context_tokens + _AHEAD_TOKENS * live):  # this step, then those to come
            crowd = Crowd(live, tokens, strictest_s)
            self._arguments.put_all((*crowd, view, knobs, self._step_time, self._verdict))
            sure_of_room.run(self._arguments)
            if not self._verdict[0]:
                break
            self._sure_up_to, sure = crowd, True
        return sure

    def _token_budget(
        self, running: int, view: EngineView, knobs: FloatArray, computed_tokens: ComputedTokens
    ) -> int | None:
        """As the decision has it; None for the engine's own."""
        if self._unlimited:
            return None
        budget = int(token_budget.py_func(self._requests.decoding(running, computed_tokens), view, knobs))
        return budget if budget < view.max_batched_tokens else None
