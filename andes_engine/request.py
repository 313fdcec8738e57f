"""What a scheduler knows of each live request: one table shared by the simulator and the vLLM scheduler.

Rows are slots: the simulator uses one row per request of the workload, the vLLM scheduler recycles rows (`request_table`).
All times are on the engine's clock, in seconds. The output length is not here: a real server cannot know it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine.compile_cache import compiled
from andes_engine.qoe import NEVER_DELIVERED, qoe_from_lag

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


_FIELDS: tuple[tuple[str, type[np.generic]], ...] = (
    # first cache line: all that a decision reads of a waiting request, by default
    *((name, np.int32) for name in ("emitted_tokens", "computed_tokens", "held_blocks", "prompt_tokens")),
    *((name, np.int32) for name in ("cached_tokens", "host_tokens")),
    *((name, np.float64) for name in ("lateness_s", "arrival_s", "ttft_s", "latency_s", "remaining_tokens")),
    # second: what running requests also need
    *((name, np.int32) for name in ("level_tokens", "paused")),
    *((name, np.float64) for name in ("lag_base_s", "last_token_s", "first_token_s", "admitted_s", "score")),
    *((name, np.int32) for name in ("preemptions", "lost_tokens", "user", "slot")),
    # third: the rest
    ("length_hint_tokens", np.float64),
)
CACHE_LINE_BYTES = 64

REQUEST = np.dtype(
    {
        "names": [name for name, _ in _FIELDS],
        "formats": [kind for _, kind in _FIELDS],
        "offsets": np.cumsum([0] + [np.dtype(kind).itemsize for _, kind in _FIELDS])[:-1].tolist(),
        "itemsize": 3 * CACHE_LINE_BYTES,
    }
)
"""One request. A table is an array of these: one argument to compiled code (a tuple of arrays triples its compile time),
read by field from both sides, ``table.latency_s[row]``.

| field | unit | meaning |
|---|---|---|
| `emitted_tokens` | tokens | delivered to the reader |
| `computed_tokens` | tokens | in the KV cache of the device |
| `held_blocks` | blocks | of the device's KV cache |
| `lateness_s`, `level_tokens`, `lag_base_s` | s, tokens, s | see `deliver`; the sum of lags is `lag_sum_s` |
| `arrival_s`, `ttft_s`, `latency_s` | s | arrival (engine clock), expected time to first token, reader's pace per token |
| `prompt_tokens` | tokens | |
| `preemptions` | | times the request lost its KV cache |
| `cached_tokens` | tokens | of a waiting request: what the prefix cache still holds |
| `host_tokens` | tokens | of a waiting request: what host memory holds |
| `remaining_tokens` | tokens | expected output still to come, from the length source; NaN if unknown |
| `score` | | what a user's own scheduler gives, higher first |
| `paused` | 0, 1 | keeps its KV cache but skips this iteration |
| `first_token_s`, `last_token_s`, `admitted_s` | s | NaN before |
| `lost_tokens` | tokens | computed for it and lost to preemptions; what it was served is `served_tokens` |
| `length_hint_tokens` | tokens | what an oracle length source says of its output; NaN for deployable sources |
| `user` | | whose request it is |
| `slot` | | place in an engine's block table; -1 while it holds none |"""

Requests = np.recarray
"""A table of requests, dtype `REQUEST`. Shape (rows,), or (engines, rows) in the batched simulator."""

_ZERO_AT_START = (
    *("emitted_tokens", "computed_tokens", "held_blocks", "level_tokens", "preemptions", "lag_base_s"),
    *("cached_tokens", "host_tokens", "score", "paused", "lost_tokens", "user", "slot"),
)
_UNKNOWN_AT_START = ("first_token_s", "last_token_s", "admitted_s", "remaining_tokens", "length_hint_tokens")


def empty_requests(*shape: int) -> Requests:
    """Rows as they are before arrival: nothing computed, nothing emitted."""
    memory = np.zeros(int(np.prod(shape)) * REQUEST.itemsize + CACHE_LINE_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % CACHE_LINE_BYTES
    table = memory[start : len(memory) - CACHE_LINE_BYTES + start].view(REQUEST).reshape(shape).view(np.recarray)
    clear_rows(table)
    return table


def clear_rows(table: Requests, rows: int | slice | IntArray = slice(None)) -> None:
    """Set rows back to their state before arrival, keeping arrival, expectation and prompt."""
    for name in _ZERO_AT_START:
        table[name][..., rows] = 0
    for name in _UNKNOWN_AT_START:
        table[name][..., rows] = np.nan
    table["lateness_s"][..., rows] = NEVER_DELIVERED
    table["slot"][..., rows] = -1


@compiled
def deliver(table: Requests, row: int, now_s: float) -> None:
    """Account one token delivered at `now_s`: O(1), the incremental form of `qoe.headline_qoe`.

    Lag is the running maximum of lateness (`lateness_s`), a staircase; `level_tokens` counts the tokens on its present step and
    `lag_base_s` sums those below. Adding a step's tokens one by one or all at once then gives the same bits.
    """
    index = table.emitted_tokens[row]
    late_s = now_s - (table.arrival_s[row] + table.ttft_s[row] + index * table.latency_s[row])
    if index == 0:
        table.first_token_s[row] = now_s
    if late_s > table.lateness_s[row]:
        table.lag_base_s[row] += table.level_tokens[row] * max(table.lateness_s[row], 0.0)
        table.level_tokens[row] = 0
        table.lateness_s[row] = late_s
    table.level_tokens[row] += 1
    table.emitted_tokens[row] = index + 1
    table.last_token_s[row] = now_s


@compiled
def lag_sum_s(table: Requests, row: int) -> float:
    """Sum of the lags of the tokens delivered so far, s."""
    return table.lag_base_s[row] + table.level_tokens[row] * max(table.lateness_s[row], 0.0)


@compiled
def qoe_so_far(table: Requests, row: int) -> float:
    """Headline QoE over the tokens delivered so far; 1 before the first."""
    return qoe_from_lag(table.emitted_tokens[row], lag_sum_s(table, row), table.latency_s[row])


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
def served_tokens(table: Requests, row: int) -> int:
    """Tokens computed for a request so far, recomputation included: its attained service."""
    return table.lost_tokens[row] + table.computed_tokens[row]


@compiled
def best_case_qoe(table: Requests, row: int, output_tokens: int, now_s: float) -> float:
    """Upper bound of the final QoE: every missing token delivered right now.

    Starts at 1, never rises, and equals the final QoE when the last token is out. Needs the true output length, so it is for
    rewards and reports only.
    """
    emitted = table.emitted_tokens[row]
    missing = output_tokens - emitted
    total_s = lag_sum_s(table, row)
    if missing > 0:
        overdue_s = now_s - (table.arrival_s[row] + table.ttft_s[row] + emitted * table.latency_s[row])
        total_s += missing * max(table.lateness_s[row], overdue_s, 0.0)
    return qoe_from_lag(output_tokens, total_s, table.latency_s[row])
