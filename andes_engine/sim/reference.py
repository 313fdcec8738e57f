"""The reference engine: one iteration of a vLLM V1 engine in plain Python, slow and obviously right.

It exists to check the compiled engine (`step`, `kv_cache`, `block_pool`, `lifecycle`, `fast_forward`), with mechanics of its own:
a deque, a list, a dict of blocks. Shared on purpose is what there must be one of: the decision (`decide`), the prices it works
with, the step-time model, the QoE account (`deliver`), and what length sources and fairness learn.

Semantics of vLLM 0.32.0: `schedule` and `_preempt_request` of `v1/core/sched/scheduler.py`, `allocate_slots` and
`get_computed_blocks` of `v1/core/kv_cache_manager.py`.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine import decision_buffers as db
from andes_engine.decision import decide
from andes_engine.engine import EngineConfig
from andes_engine.knobs import Knobs
from andes_engine.lengths import HAZARD, length_hints, length_source, observe_censored, observe_finish
from andes_engine.plan_memory import empty_memory
from andes_engine.request import deliver, empty_requests
from andes_engine.schedulers import FCFS, SARATHI, VTC, scheduler_id
from andes_engine.schedulers.vtc import charge, lift
from andes_engine.sim.reference_kv import ReferenceKv
from andes_engine.sim.reference_state import differences, load_state
from andes_engine.sim.simulator import Simulator
from andes_engine.step_time import step_seconds
from andes_engine.workload import Workload


class ReferenceEngine:
    """One engine with its workload, like `Simulator` with one engine after `reset`; arguments as there.

    `table` holds what decisions read; its `held_blocks`, `paused` and the like follow the engine's own lists.
    """

    def __init__(
        self,
        config: EngineConfig,
        workload: Workload,
        scheduler: str,
        knobs: Knobs | None = None,
        lengths: str = "none",
        length_sigma: float = 0.6,
    ) -> None:
        workload.check_fits(config)
        self.config, self.workload = config, workload
        self.scheduler, self.knobs = scheduler_id(scheduler), (knobs or Knobs()).vector
        n = len(workload)
        self.table = empty_requests(n)
        for name in ("arrival_s", "ttft_s", "latency_s", "prompt_tokens", "user"):
            self.table[name][:] = getattr(workload, name)
        kind = length_source(lengths).kind
        rng = np.random.default_rng(int(workload.fingerprint, 16))
        self.table["length_hint_tokens"][:] = length_hints(kind, workload.output_tokens, length_sigma, rng)
        self.memory = empty_memory(n, int(workload.user.max()) + 1)
        self.memory.length_kind[0] = kind
        self.plan = db.empty_decision(config.max_num_seqs, n)
        self.now_s, self.next_arrival = 0.0, 0
        self.running: list[int] = []
        self.waiting: deque[int] = deque()
        self.kv = ReferenceKv(config, workload, self.table)
        self.counters = [0] * ct.COUNTER_COUNT
        self.finish_s: NDArray[np.float64] = np.full(n, np.nan)
        self.token_s: list[list[float]] = [[] for _ in range(n)]

    def load_state(self, simulator: Simulator, index: int) -> None:
        """Become what one engine of a simulator is now; it was reset with the same workload."""
        load_state(self, simulator.of(index))

    def differences(self, simulator: Simulator, index: int) -> list[str]:
        """What differs between one engine of a simulator and this one, a line each with both values; empty if nothing does."""
        return differences(self, simulator.of(index))

    def advance(self, until_s: float) -> None:
        """Run until `until_s`, or until drained."""
        while self._ready(until_s):
            self.step()

    def _ready(self, until_s: float) -> bool:
        """Let requests arrive and leave, and idle time pass; whether there is an iteration to run before `until_s`."""
        while self.now_s < until_s:
            self._arrive()
            self._leave()
            if self.running or self.waiting:
                return True
            if self.next_arrival == len(self.workload):
                return False
            self.now_s = min(until_s, float(self.workload.arrival_s[self.next_arrival]))
        return False

    def _arrive(self) -> None:
        while self.next_arrival < len(self.workload) and self.workload.arrival_s[self.next_arrival] <= self.now_s:
            row = self.next_arrival
            if self.scheduler == VTC:
                lift(self.memory.user_service, int(self.workload.user[row]), self.table, _rows(self.waiting))
            self.waiting.append(row)
            self.next_arrival += 1
            self.counters[ct.ARRIVED] += 1

    def _leave(self) -> None:
        """Take out whoever's reader has left."""
        for row in [*self.running, *self.waiting]:
            if self.workload.abort_s[row] > self.now_s:
                continue
            queue = self.running if row in self.running else self.waiting
            queue.remove(row)
            self.kv.release(row)
            self.kv.leave_host(row)
            if self.memory.length_kind[0] == HAZARD:
                prompt, emitted = int(self.table.prompt_tokens[row]), int(self.table.emitted_tokens[row])
                observe_censored(self.memory.hazard, prompt, emitted)
            self.counters[ct.ABORTED] += 1
            self.counters[ct.FINISHED] += 1

    def step(self) -> None:
        """One iteration: decide, apply, give out tokens, let their time pass, deliver."""
        plan = self._decide()
        self._apply(plan)
        chunks, emergency = self._schedule_running(int(plan.head[db.TOKEN_BUDGET]))
        if not emergency:
            self._schedule_waiting(plan, int(plan.head[db.TOKEN_BUDGET]) - sum(chunks.values()), chunks)
        self._execute(chunks)

    def _decide(self) -> db.Decision:
        if self.config.prefix_caching and self.scheduler not in (FCFS, SARATHI):
            for row in self.waiting:
                self.table.cached_tokens[row] = len(self.kv.cached(row)) * self.config.block_size_tokens
        plan, model = self.plan, self.config.step_time.vector
        running, waiting = _rows(self.running), _rows(self.waiting)
        decide(
            self.table, running, waiting, self.kv.view(self.now_s), self.scheduler, self.knobs, model, self.memory, plan
        )
        self.counters[ct.DECISIONS] += int(plan.head[db.PLANNED])
        self.counters[ct.PAUSES] += int(plan.head[db.N_PAUSED])
        return plan

    def _apply(self, plan: db.Decision) -> None:
        """Preempt and reorder as planned; an empty order leaves the list as it is."""
        for row in plan.preempt[: plan.head[db.N_PREEMPT]].tolist():
            self.running.remove(row)
            self._preempt(row)
            self.counters[ct.PLANNED_PREEMPTIONS] += 1
        order = plan.order[: plan.head[db.N_ORDER]].tolist()
        self.running = order or self.running

    def _schedule_running(self, budget: int) -> tuple[dict[int, int], bool]:
        """Tokens for running requests in list order; whoever finds no block has the last of the list preempted, itself at worst.

        Returns:
            Tokens by request, and whether somebody had to be preempted.
        """
        chunks: dict[int, int] = {}
        emergency = False
        for row in list(self.running):
            if row not in self.running or budget == 0:
                break
            if self.table.paused[row]:
                continue
            tokens = min(self.kv.context(row) - int(self.table.computed_tokens[row]), budget)
            while row in self.running and self.kv.lacking(row, tokens) > len(self.kv.pool.free):
                self._preempt(self.running.pop())
                emergency = True
            if row not in self.running:
                break
            self.kv.grow(row, tokens)
            chunks[row] = tokens
            budget -= tokens
        return chunks, emergency

    def _schedule_waiting(self, plan: db.Decision, budget: int, chunks: dict[int, int]) -> None:
        """Admit those the plan names, or with an open gate everyone in queue order, until the first that does not fit."""
        gated = bool(plan.head[db.GATED])
        offered = plan.admit[: plan.head[db.N_ADMIT]].tolist() if gated else list(self.waiting)
        for row in offered:
            if budget == 0 or len(self.running) == self.config.max_num_seqs:
                return
            watermark = int(plan.head[db.RESERVE_BLOCKS]) if self.running else 0
            tokens = self.kv.start(row, self.now_s, budget, watermark)
            if tokens == 0:
                return
            self.waiting.remove(row)
            self.running.append(row)
            self.table.admitted_s[row] = self.now_s
            chunks[row] = tokens
            budget -= tokens

    def _execute(self, chunks: dict[int, int]) -> None:
        """Let the iteration's time pass, then give a token to each request whose KV is complete."""
        table = self.table
        before = {row: int(table.computed_tokens[row]) for row in chunks}
        decodes = [row for row in chunks if chunks[row] == 1 and table.emitted_tokens[row] > 0 and before[row] > 0]
        prefills = [row for row in chunks if row not in decodes]
        prefill_tokens = sum(chunks[row] for row in prefills)
        seconds = step_seconds(
            self.config.step_time.vector,
            prefill_tokens,
            len(decodes),
            sum(before[row] + 1 for row in decodes),
            sum(chunks[row] ** 2 for row in prefills),
            sum(chunks[row] * before[row] for row in prefills),
        )
        self.now_s += self.config.slowdown * seconds + self.kv.copied_blocks * self.config.host_copy_s_per_block
        self.counters[ct.STEPS] += 1
        self.counters[ct.PREFILL_TOKENS] += prefill_tokens
        self.counters[ct.COPIED_BLOCKS] += self.kv.copied_blocks
        self.kv.copied_blocks = 0
        for row in list(self.running):
            table.computed_tokens[row] += chunks.get(row, 0)
            if row in chunks and table.computed_tokens[row] == self.kv.context(row):
                self._deliver(row)

    def _deliver(self, row: int) -> None:
        table, memory = self.table, self.memory
        if self.scheduler == VTC:
            prompt = int(table.prompt_tokens[row]) if table.emitted_tokens[row] == 0 else 0
            charge(memory.user_service, int(table.user[row]), prompt, 1)
        deliver(table, row, self.now_s)
        self.token_s[row].append(self.now_s)
        self.counters[ct.DECODE_TOKENS] += 1
        if table.emitted_tokens[row] < self.workload.output_tokens[row]:
            return
        self.running.remove(row)
        self.kv.release(row)
        self.finish_s[row] = self.now_s
        self.counters[ct.FINISHED] += 1
        if memory.length_kind[0] == HAZARD:
            observe_finish(memory.hazard, int(table.prompt_tokens[row]), int(self.workload.output_tokens[row]))

    def _preempt(self, row: int) -> None:
        """All blocks are freed, and the request, already off the running list, becomes the head of the queue."""
        table = self.table
        self.kv.keep_on_host(row)
        self.kv.release(row)
        table.lost_tokens[row] += table.computed_tokens[row]
        table.computed_tokens[row] = table.paused[row] = 0
        table.preemptions[row] += 1
        self.waiting.appendleft(row)
        self.counters[ct.PREEMPTIONS] += 1


def _rows(queue: list[int] | deque[int]) -> NDArray[np.int64]:
    return np.array(queue, dtype=np.int64)
