"""Planners and workloads for tests of the vLLM engines."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np
import pytest

from andes_engine.vllm.contract import NO_HOST, HostRoom, Plan, RunningView, WaitingView
from andes_engine.vllm.episode import EpisodeRequest

INSTALLED = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed: pip install 'andes-rl[cpu]'")
"""Of a command in processes of its own, whatever its pace: runs beside other tests."""
NEEDS_VLLM = [pytest.mark.live, INSTALLED]
"""Of an engine in the test's own process, or one whose pace matters: runs alone."""
STOCK = Plan([], None, None, None)


class SilentPlanner:
    """Hears everything, decides nothing."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.preemptions = 0
        self.admissions = 0

    def add(self, request_id: str, arrival_s: float, prompt_tokens: int, extra_args: object) -> None:
        self.known[request_id] = 0

    def emitted(self, tokens: Mapping[str, int], now_s: float) -> None:
        for request_id, count in tokens.items():
            self.known[request_id] += count

    def preempted(self, request_id: str, now_s: float, computed_tokens: int) -> None:
        self.preemptions += 1

    def admitted(self, request_ids: Sequence[str], now_s: float) -> None:
        assert set(request_ids) <= self.known.keys()
        self.admissions += len(request_ids)

    def remove(self, request_id: str, finished: bool = True) -> None:
        del self.known[request_id]

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        return STOCK


class RandomPlanner(SilentPlanner):
    """Preempts, gates, orders and limits at random, names strangers, and sometimes raises."""

    def __init__(self, seed: int, preempt: float = 0.05, fail: float = 0.02) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._preempt = preempt
        self._fail = fail
        self.raised = 0

    def plan(
        self,
        now_s: float,
        running: Sequence[RunningView],
        waiting: Sequence[WaitingView],
        free: int,
        host: HostRoom = NO_HOST,
    ) -> Plan:
        draw = self._random
        if draw.random() < self._fail:
            self.raised += 1
            raise RuntimeError("injected")
        ids, queue = [view.request_id for view in running], [view.request_id for view in waiting]
        return Plan(
            preempt=[i for i in ids if draw.random() < self._preempt] + ["stranger"] * (draw.random() < 0.05),
            admit=None if draw.random() < 0.3 else draw.sample(queue, draw.randint(0, len(queue))),
            run_order=None if draw.random() < 0.5 else draw.sample(ids, len(ids)),
            token_budget=None if draw.random() < 0.7 else draw.randint(0, 600),
            pause=[i for i in ids if draw.random() < 0.1] + ["stranger"] * (draw.random() < 0.05),
            reserve_blocks=None if draw.random() < 0.7 else draw.randint(0, 30),
        )


class BrokenPlanner(SilentPlanner):
    """Fails at everything a planner can be asked."""

    def _fail(self, *arguments: object) -> Plan:
        raise RuntimeError("always")

    add = admitted = emitted = preempted = remove = plan = _fail  # type: ignore[assignment]


def overload(requests: int, rate: float, seed: int = 0, mean_tokens: int = 80) -> list[EpisodeRequest]:
    """Lognormal lengths, Poisson arrivals."""
    generator = np.random.default_rng(seed)
    arrivals = np.cumsum(generator.exponential(1 / rate, requests))
    lengths = np.clip(generator.lognormal(np.log(mean_tokens), 0.7, (requests, 2)), 4, 600).astype(int)
    return [
        EpisodeRequest(f"r{i}", float(arrival), int(prompt), int(output), 1.0, 0.22)
        for i, (arrival, (prompt, output)) in enumerate(zip(arrivals, lengths, strict=True))
    ]


def step_time_s(
    prefill_tokens: int, decode_seqs: int, context_tokens: int, sum_sq_prefill: int, prefill_context: int
) -> float:
    """A small model on one CPU core, roughly."""
    return 0.002 + 27e-6 * prefill_tokens + 240e-6 * decode_seqs + 150e-9 * context_tokens
