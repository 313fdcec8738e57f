"""The live request table behind a real engine, kept from its events as the simulator keeps its own.

Arrivals, admissions, tokens, preemptions and ends come in one by one with vLLM's request ids; what the decision reads of them is
as in `sim.lifecycle`: users are charged and lifted, lost tokens add up, lengths are learned.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.errors import ExpectationError
from andes_engine.expectations import Expectation
from andes_engine.lengths import HAZARD, length_source
from andes_engine.live_look import LiveLook
from andes_engine.live_steps import learn_length, lift_user
from andes_engine.live_users import UserNumbers
from andes_engine.plan_memory import empty_memory
from andes_engine.planner_config import PlannerConfig
from andes_engine.qoe import qoe_from_lag
from andes_engine.request import lag_sum_s
from andes_engine.request_table import RequestTable
from andes_engine.schedulers import VTC, scheduler_id
from andes_engine.token_feed import TokenFeed
from andes_engine.vllm.contract import ComputedTokens

logger = logging.getLogger(__name__)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_FINISHED = 4096


class LiveRequests:
    """Rows of live requests, what was learned from those that are gone, and the counts of both.

    Args:
        config: Default expectation, scheduler (only `vtc` charges users), length source.
        length_hints: What a clairvoyant length source is told, tokens by the caller's request id (`qoe_id`); only an experiment
            on a known workload has them.
    """

    def __init__(self, config: PlannerConfig, length_hints: Mapping[str, float] | None = None) -> None:
        self.table = RequestTable()
        self.memory = empty_memory(256)
        self.memory.length_kind[0] = length_source(config.lengths).kind
        self.counters: IntArray = np.zeros(ct.COUNTER_COUNT, dtype=np.int64)
        self.bad_expectations = 0
        self.finished_qoe: deque[float] = deque(maxlen=_MOST_FINISHED)
        """Headline QoE of requests that ended by themselves, for whoever takes them out."""
        self._expectations = config.expectations
        self._hints = length_hints or {}
        self._fair = scheduler_id(config.scheduler) == VTC
        self._users = UserNumbers()
        self._user_of: dict[int, str] = {}
        self._waiting: dict[int, None] = {}
        self._prefilling: dict[str, int] = {}
        """Who had so many tokens when admitted, and none since."""
        self._paces: Counter[float] = Counter()
        self.context_tokens = 0
        """Of all live requests together."""
        self.look = LiveLook(self.table)
        """What an engine shows of them."""
        self._feed = TokenFeed(self.table, self._fair, self.counters)

    def add(
        self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: Mapping[str, object] | None
    ) -> None:
        """A request has arrived. A bad expectation is counted and replaced by the default: this must not raise."""
        asked = extra_args or {}
        expectation = self._expectation(asked, prompt_tokens)
        if (row := self.table.find(request_id)) is not None:
            self._drop(request_id, row)
            self.look.forget_all()
        user = str(asked.get("qoe_user", ""))
        row = self.table.add(request_id, arrival_s, prompt_tokens, *expectation, self._enter(user))
        self._user_of[row] = user
        if self._hints:
            self.table.columns.length_hint_tokens[row] = self._hints.get(str(asked.get("qoe_id", "")), np.nan)
        self._waiting[row] = None
        self._paces[expectation.latency_s] += 1
        self.context_tokens += prompt_tokens
        self.counters[ct.ARRIVED] += 1

    def _expectation(self, asked: Mapping[str, object], prompt_tokens: int) -> Expectation:
        try:
            return self._expectations.of(asked, prompt_tokens)
        except ExpectationError as error:
            self.bad_expectations += 1
            if self.bad_expectations == 1:
                logger.error("andes: %s; the default instead, logged once", error)
            return self._expectations.of({}, prompt_tokens)

    def _enter(self, name: str) -> int:
        user, is_new = self._users.enter(name)
        service = self.memory.user_service
        if user >= len(service):
            service = np.concatenate([service, np.zeros(len(service))])
            self.memory = self.memory._replace(user_service=service)
        if is_new:
            service[user] = 0.0
        if self._fair:
            lift_user(service, user, self.table.rows, np.fromiter(self._waiting, np.int64, len(self._waiting)))
        return user

    def admitted(self, request_ids: Sequence[str], now_s: float) -> None:
        """Waiting requests start in the iteration that begins now."""
        for request_id in request_ids:
            row, columns = self.table.row(request_id), self.table.columns
            columns.admitted_s[row] = now_s
            columns.cached_tokens[row] = columns.host_tokens[row] = 0
            self._waiting.pop(row, None)
            self._prefilling[request_id] = int(columns.emitted_tokens[row])

    def emitted(self, tokens: Mapping[str, int], now_s: float) -> None:
        """Tokens came out, so many of each of these requests."""
        self.context_tokens += self._feed.take(tokens, float(now_s), self.memory.user_service)
        emitted = self.table.columns.emitted_tokens
        for request_id in [name for name, had in self._prefilling.items() if emitted[self.table.row(name)] > had]:
            del self._prefilling[request_id]

    def preempted(self, request_id: str, computed_tokens: int) -> None:
        """A request lost its KV cache of so many tokens, planned or not."""
        row, columns = self.table.row(request_id), self.table.columns
        self._prefilling.pop(request_id, None)
        columns.lost_tokens[row] += computed_tokens
        for name in ("computed_tokens", "held_blocks", "paused"):
            getattr(columns, name)[row] = 0
        columns.preemptions[row] += 1
        self._waiting[row] = None
        self.counters[ct.PREEMPTIONS] += 1

    def remove(self, request_id: str, finished: bool) -> None:
        """A request has left; twice is no error, an abort may race with the end."""
        row, columns = self.table.find(request_id), self.table.columns
        if row is None:
            return
        emitted = int(columns.emitted_tokens[row])
        if self.memory.length_kind[0] == HAZARD:
            prompt = int(columns.prompt_tokens[row])
            learn_length(self.memory.hazard, prompt, emitted, int(finished and emitted > 0))
        if finished and emitted > 0:
            lag_s = lag_sum_s.py_func(columns, row)
            self.finished_qoe.append(qoe_from_lag.py_func(emitted, lag_s, columns.latency_s[row]))
        self._drop(request_id, row)
        self.counters[ct.FINISHED] += 1
        self.counters[ct.ABORTED] += not finished

    def _drop(self, request_id: str, row: int) -> None:
        self._users.leave(self._user_of.pop(row))
        self._waiting.pop(row, None)
        self._prefilling.pop(request_id, None)
        columns = self.table.columns
        self.context_tokens -= int(columns.prompt_tokens[row]) + int(columns.emitted_tokens[row])
        latency_s = float(columns.latency_s[row])
        self._paces[latency_s] -= 1
        if self._paces[latency_s] == 0:
            del self._paces[latency_s]
        self.table.remove(request_id)
        self.look.forget(row)

    def slack_s(self, now_s: float) -> tuple[FloatArray, FloatArray]:
        """Time until each reader runs out, s, negative for who waits already: of running and of waiting requests.

        `request.next_due_s` for all rows at once.
        """
        rows = np.fromiter(self._user_of, np.int64, len(self._user_of))
        waits = np.fromiter((row in self._waiting for row in self._user_of), np.bool_, len(rows))
        live = self.table.rows[rows]
        expected_s = live["arrival_s"] + live["ttft_s"] + live["emitted_tokens"] * live["latency_s"]
        due_s = expected_s + np.maximum(live["lateness_s"], 0.0)
        return due_s[~waits] - now_s, due_s[waits] - now_s

    @property
    def owe_prefill(self) -> bool:
        """Whether any request has prompt left to compute."""
        return bool(self._waiting) or bool(self._prefilling)

    @property
    def strictest_s(self) -> float:
        """Pace of the fastest reader, s per token; infinite without any."""
        return min(self._paces, default=np.inf)

    def decoding(self, running: int, computed_tokens: ComputedTokens) -> int:
        """How many of so many running requests lack but one token before the next comes out (`decision_buffers.missing_tokens`).

        All that have had a token since they were admitted; the others are asked about.
        """
        if not self._prefilling:
            return running
        rows, columns = self.table.rows_of(self._prefilling), self.table.columns
        context = columns.prompt_tokens[rows] + columns.emitted_tokens[rows]
        lacks = context - np.array(computed_tokens([*self._prefilling]))
        return running - int((lacks > 1).sum())
