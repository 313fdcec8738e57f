"""What a scheduler knows of each live request: one table shared by the simulator and the vLLM scheduler.

Rows are slots: the simulator uses one row per request of the workload, the vLLM scheduler recycles rows (`RequestTable`).
All times are on the engine's clock, in seconds. The output length is not here: a real server cannot know it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.qoe import NEVER_DELIVERED, qoe_from_lag

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


REQUEST = np.dtype(
    [
        ("arrival_s", np.float64),
        ("ttft_s", np.float64),
        ("latency_s", np.float64),
        ("prompt_tokens", np.int64),
        ("emitted_tokens", np.int64),
        ("computed_tokens", np.int64),
        ("held_blocks", np.int64),
        ("preemptions", np.int64),
        ("lateness_s", np.float64),
        ("lag_sum_s", np.float64),
        ("first_token_s", np.float64),
        ("last_token_s", np.float64),
        ("user", np.int64),
        ("admitted_s", np.float64),
        ("served_tokens", np.int64),
        ("remaining_tokens", np.float64),
    ]
)
"""One request. A table is an array of these: one argument to compiled code (a tuple of twelve arrays triples its compile time),
read by field from both sides, ``table.lag_sum_s[row]``."""

Requests = np.recarray
"""A table of requests, dtype `REQUEST`. Shape (rows,), or (engines, rows) in the batched simulator."""

_STATE_FIELDS = (
    "emitted_tokens",
    "computed_tokens",
    "held_blocks",
    "preemptions",
    "lag_sum_s",
    "user",
    "served_tokens",
)


def empty_requests(*shape: int) -> Requests:
    """Rows as they are before arrival: nothing computed, nothing emitted."""
    table = np.zeros(shape, dtype=REQUEST).view(np.recarray)
    clear_rows(table)
    return table


def clear_rows(table: Requests, rows: int | slice | IntArray = slice(None)) -> None:
    """Set rows back to their state before arrival, keeping arrival, expectation and prompt."""
    for name in _STATE_FIELDS:
        table[name][..., rows] = 0
    table["lateness_s"][..., rows] = NEVER_DELIVERED
    for name in ("first_token_s", "last_token_s", "admitted_s", "remaining_tokens"):
        table[name][..., rows] = np.nan


@compiled
def deliver(table: Requests, row: int, now_s: float) -> None:
    """Account one token delivered at `now_s`: O(1), the incremental form of `qoe.headline_qoe`."""
    index = table.emitted_tokens[row]
    late_s = now_s - (table.arrival_s[row] + table.ttft_s[row] + index * table.latency_s[row])
    if index == 0:
        table.first_token_s[row] = now_s
    table.lateness_s[row] = max(table.lateness_s[row], late_s)
    table.lag_sum_s[row] += max(table.lateness_s[row], 0.0)
    table.emitted_tokens[row] = index + 1
    table.last_token_s[row] = now_s


@compiled
def qoe_so_far(table: Requests, row: int) -> float:
    """Headline QoE over the tokens delivered so far; 1 before the first."""
    return qoe_from_lag(table.emitted_tokens[row], table.lag_sum_s[row], table.latency_s[row])


@compiled
def next_due_s(table: Requests, row: int) -> float:
    """When the reader runs out: the next token costs no further lag if delivered before this time (engine clock, s)."""
    expected_s = table.arrival_s[row] + table.ttft_s[row] + table.emitted_tokens[row] * table.latency_s[row]
    return expected_s + max(table.lateness_s[row], 0.0)


@compiled
def context_tokens(table: Requests, row: int) -> int:
    """Length of the sequence, prompt plus generated tokens: the KV it needs to go on."""
    return table.prompt_tokens[row] + table.emitted_tokens[row]


@compiled
def best_case_qoe(table: Requests, row: int, output_tokens: int, now_s: float) -> float:
    """Upper bound of the final QoE: every missing token delivered right now.

    Starts at 1, never rises, and equals the final QoE when the last token is out. Needs the true output length, so it is for
    rewards and reports only.
    """
    emitted = table.emitted_tokens[row]
    missing = output_tokens - emitted
    lag_sum_s = table.lag_sum_s[row]
    if missing > 0:
        overdue_s = now_s - (table.arrival_s[row] + table.ttft_s[row] + emitted * table.latency_s[row])
        lag_sum_s += missing * max(table.lateness_s[row], overdue_s, 0.0)
    return qoe_from_lag(output_tokens, lag_sum_s, table.latency_s[row])


class RequestTable:
    """Rows with names: hands out and takes back rows of a `Requests` table that grows by doubling."""

    def __init__(self, capacity: int = 256) -> None:
        self.rows = empty_requests(capacity)
        self._row_of: dict[str, int] = {}
        self._name_of: dict[int, str] = {}
        self._free = list(range(capacity - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._row_of

    def add(self, request_id: str, arrival_s: float, prompt_tokens: int, ttft_s: float, latency_s: float) -> int:
        """Take a free row for a request; an id already present is an error."""
        if request_id in self._row_of:
            raise KeyError(f"request '{request_id}' is already in the table")
        if not self._free:
            self._grow()
        row = self._free.pop()
        clear_rows(self.rows, row)
        self.rows.arrival_s[row], self.rows.prompt_tokens[row] = arrival_s, prompt_tokens
        self.rows.ttft_s[row], self.rows.latency_s[row] = ttft_s, latency_s
        self._row_of[request_id], self._name_of[row] = row, request_id
        return row

    def remove(self, request_id: str) -> None:
        """Give the row back."""
        row = self._row_of.pop(request_id)
        del self._name_of[row]
        self._free.append(row)

    def row(self, request_id: str) -> int:
        """Row of a request."""
        return self._row_of[request_id]

    def name(self, row: int) -> str:
        """Request of a row."""
        return self._name_of[row]

    def _grow(self) -> None:
        old, size = self.rows, len(self.rows)
        self.rows = empty_requests(2 * size)
        self.rows[:size] = old
        self._free = list(range(2 * size - 1, size - 1, -1))
