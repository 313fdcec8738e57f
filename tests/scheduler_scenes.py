"""Moments of an engine for tests of scores: live requests, who runs, what a score sees, the order it gives."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from andes_engine.request import Requests, deliver, empty_requests
from andes_engine.schedulers.score_view import ScoreView

NOW_S = 100.0
USERS = 3


def view(
    token_latency_s: float = 0.02, resume_s_per_token: float = 1e-4, service: tuple[float, ...] = (0.0,) * USERS
) -> ScoreView:
    """20 ms per iteration and 0.1 ms per prefilled token, unless told otherwise."""
    return ScoreView(NOW_S, token_latency_s, resume_s_per_token, np.array(service))


def requests(count: int = 1, **columns: object) -> Requests:
    """Requests that arrived 10 s ago and wait; `columns` overrides."""
    table = empty_requests(count)
    table.arrival_s[:], table.ttft_s[:], table.latency_s[:], table.prompt_tokens[:] = NOW_S - 10.0, 1.0, 0.2, 100
    for name, value in columns.items():
        table[name][:] = value
    return table


def spoken(table: Requests, row: int, times_s: list[float]) -> None:
    for time_s in times_s:
        deliver(table, row, time_s)


def live(seed: int, count: int = 12) -> tuple[Requests, np.ndarray]:
    """A moment with running, waiting and preempted requests; and who runs."""
    rng = np.random.default_rng(seed)
    table = requests(count, arrival_s=NOW_S - rng.uniform(0.1, 60.0, count), prompt_tokens=rng.integers(1, 4000, count))
    running = rng.random(count) < 0.5
    table.latency_s[:], table.user[:] = rng.uniform(0.1, 0.3, count), rng.integers(0, USERS, count)
    for row in range(count):
        if running[row] or rng.random() < 0.5:
            spoken(table, row, list(np.sort(rng.uniform(table.arrival_s[row], NOW_S, rng.integers(1, 80)))))
            table.admitted_s[row] = rng.uniform(table.arrival_s[row], table.first_token_s[row])
            served = table.prompt_tokens[row] + table.emitted_tokens[row] + rng.integers(0, 500)
            table.lost_tokens[row] = served  # less what is computed below
            table.preemptions[row] = 0 if running[row] else 1
        if running[row]:
            table.computed_tokens[row] = table.prompt_tokens[row] + table.emitted_tokens[row] - 1
            table.lost_tokens[row] -= table.computed_tokens[row]
    table.remaining_tokens[:] = np.where(rng.random(count) < 0.5, rng.integers(1, 500, count), np.nan)
    return table, running


def scores(rival: ModuleType, table: Requests, running: np.ndarray, seen: ScoreView) -> np.ndarray:
    return np.array([rival.score(table, row, bool(running[row]), seen) for row in range(len(table))])


def order(rival: ModuleType, table: Requests, running: np.ndarray, seen: ScoreView) -> list[int]:
    return np.argsort(-scores(rival, table, running, seen), kind="stable").tolist()
