"""The decision of the authors' code in the form it is published in: plain Python over lists of objects.

The rival in the timing of a decision. Same logic as `andes_engine.schedulers.authors_code`, which names source and quirks;
a property test shows that both decide the same. Like the original it asks each object for its value, caches its length in
blocks, keeps indices in a set, and finds who was chosen by searching lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from andes_engine.engine import EngineView
from andes_engine.request import Requests
from andes_engine.schedulers.authors_code import (
    HORIZON_S,
    LATE_SHARE,
    PLAN_EVERY_ITERATIONS,
    RECOMPUTE_S_PER_TOKEN,
    RUNNING_BONUS,
    TOKEN_LATENCY_S,
    WATERMARK,
)


@dataclass(eq=False, slots=True)
class SequenceGroup:
    """A live request as the fork keeps it; times of tokens are relative to arrival, s."""

    row: int
    arrival_s: float
    ttft_s: float
    latency_s: float
    prompt_tokens: int
    token_times_s: list[float]
    held_blocks: int

    def length_tokens(self) -> int:
        """Prompt and generated tokens."""
        return self.prompt_tokens + len(self.token_times_s)

    def slack_s(self, now_s: float) -> float:
        """Time until the next token is due, s."""
        return len(self.token_times_s) * self.latency_s + self.ttft_s - (now_s - self.arrival_s)

    def gain(self, now_s: float, is_running: bool) -> float:
        """QoE gain of serving over waiting."""
        tokens, age_s = len(self.token_times_s), now_s - self.arrival_s
        expected = (age_s + HORIZON_S) * (1.0 / self.latency_s)
        if tokens > 0 and self.token_times_s[-1] < self.ttft_s + tokens * self.latency_s:
            served = 1.0
        else:
            share = (tokens + HORIZON_S / max(self.latency_s, TOKEN_LATENCY_S)) / expected
            served = min(1.0, share * share)
        if tokens == 0:
            waited = float(age_s + HORIZON_S <= self.ttft_s)
        elif expected <= tokens:
            waited = 1.0
        else:
            missing = (expected - tokens) / expected
            waited = 1.0 - missing * missing
        return (served - waited) * (1.0 + RUNNING_BONUS * is_running)


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows admitted, in order, and rows preempted."""

    admit: list[int]
    preempt: list[int]


class Solver:
    """The knapsack scheduler; keeps nothing between decisions but the engine's limits."""

    def __init__(self, view: EngineView) -> None:
        self.view = view

    def decide(self, running: Sequence[SequenceGroup], waiting: Sequence[SequenceGroup], iteration: int = 0) -> Choice:
        """Decide on one iteration."""
        view = self.view
        free = max(0, view.free_blocks - len(running))
        used = 0.0 if iteration % PLAN_EVERY_ITERATIONS else (view.kv_blocks - free) / view.kv_blocks
        if used < WATERMARK:
            wanted = sorted(waiting, key=lambda group: group.gain(view.now_s, False) / self.blocks(group), reverse=True)
            return self._admissible(running, deque(wanted), deque())
        picked = self.pick(list(running), list(waiting))
        entering = deque(group for group in picked if group in waiting)
        leaving = deque(group for group in running if group not in picked)
        return self._admissible(running, entering, leaving)

    def blocks(self, group: SequenceGroup) -> int:
        """Blocks of a request and its next token."""
        return round((group.length_tokens() + 1) / self.view.block_size_tokens + 0.5)

    def pick(self, running: list[SequenceGroup], waiting: list[SequenceGroup]) -> list[SequenceGroup]:
        """Who shall run next."""
        if not waiting:
            return running
        blocks_of = lru_cache(maxsize=150)(self.blocks)
        live, now_s = running + waiting, self.view.now_s
        blocks = [blocks_of(group) for group in live]
        slack_s = sorted(group.slack_s(now_s) for group in live)[int(LATE_SHARE * len(live))]
        overhead_s = RECOMPUTE_S_PER_TOKEN * self.view.block_size_tokens * sum(blocks) / len(live)
        cap = int(slack_s // overhead_s)
        if cap < 1:
            return live
        run_values = [group.gain(now_s, True) / blocks_of(group) for group in running]
        wait_values = [group.gain(now_s, False) / blocks_of(group) for group in waiting]
        best_waiting = max(wait_values)
        up = [index for index, value in enumerate(run_values) if value <= best_waiting][:cap]
        up_set = {index for index in up}  # noqa: C416  filled one by one, which decides its order
        kept = [index for index in range(len(running)) if index not in up_set]
        room = self.view.kv_blocks - sum(blocks[index] for index in kept)
        weights = [blocks[index] for index in up_set] + blocks[-len(waiting) :]
        values = [run_values[index] for index in up_set] + wait_values
        candidates = [running[index] for index in up] + waiting
        return [candidates[index] for index in greedy(room, weights, values)] + [running[index] for index in kept]

    def _admissible(
        self, running: Iterable[SequenceGroup], entering: deque[SequenceGroup], leaving: deque[SequenceGroup]
    ) -> Choice:
        """What the engine's admission lets in: in order, until one does not fit."""
        view, admit = self.view, list[int]()
        free = view.free_blocks + sum(group.held_blocks for group in leaving)
        slots = view.max_num_seqs - len(list(running)) + len(leaving)
        while entering and len(admit) < slots:
            group = entering.popleft()
            free -= -(-group.length_tokens() // view.block_size_tokens)
            if free < 0:
                break
            admit.append(group.row)
        return Choice(admit, [group.row for group in leaving])


def greedy(room: int, weights: list[int], values: list[float]) -> list[int]:
    """Items by falling value per weight, until one does not fit."""
    items = [(value / weight, weight, index) for index, (value, weight) in enumerate(zip(values, weights, strict=True))]
    items.sort(key=lambda item: item[0], reverse=True)
    taken = []
    for _, weight, index in items:
        room -= weight
        if room < 0:
            break
        taken.append(index)
    return taken


def sequence_groups(table: Requests, rows: Iterable[int]) -> list[SequenceGroup]:
    """Rows of a request table as objects. Only the last token's time counts, so it stands for all of them."""
    return [
        SequenceGroup(
            int(row),
            float(table.arrival_s[row]),
            float(table.ttft_s[row]),
            float(table.latency_s[row]),
            int(table.prompt_tokens[row]),
            [float(table.last_token_s[row] - table.arrival_s[row])] * int(table.emitted_tokens[row]),
            int(table.held_blocks[row]),
        )
        for row in rows
    ]
