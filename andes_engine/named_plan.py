"""A decision in rows of the request table, told to an engine in its own request ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine.decision_buffers import (
    GATED,
    N_ADMIT,
    N_ORDER,
    N_PREEMPT,
    RESERVE_BLOCKS,
    TOKEN_BUDGET,
    Decision,
)
from andes_engine.request_table import RequestTable
from andes_engine.vllm.contract import Plan
from andes_engine.vllm.running_views import RunOrder

IntArray = NDArray[np.int64]


def named_plan(
    decision: Decision, table: RequestTable, shown: Sequence[str], running: IntArray, max_batched_tokens: int
) -> Plan:
    """What was decided.

    Args:
        decision: As `decision.decide` left it.
        table: Names the rows.
        shown: Ids of the running requests as they were shown.
        running: Their rows.
        max_batched_tokens: Budget that is none.
    """
    head, names_of = decision.head, table.names_of
    preempted = decision.preempt[: head[N_PREEMPT]]
    paused = running[table.columns.paused[running] != 0]
    return Plan(
        preempt=names_of(preempted),
        admit=names_of(decision.admit[: head[N_ADMIT]]) if head[GATED] else None,
        run_order=_run_order(decision.order[: head[N_ORDER]], shown, running, len(table.rows)),
        token_budget=int(head[TOKEN_BUDGET]) if head[TOKEN_BUDGET] < max_batched_tokens else None,
        pause=names_of(paused[~np.isin(paused, preempted)]) if len(paused) else (),
        reserve_blocks=int(head[RESERVE_BLOCKS]) or None,
    )


def _run_order(order: IntArray, shown: Sequence[str], running: IntArray, rows: int) -> RunOrder | None:
    """The order decided on; None if those that stay keep theirs."""
    if len(order) == 0:
        return None
    place_of = np.empty(rows, dtype=np.int64)
    place_of[running] = np.arange(len(running))
    places = place_of[order]
    return None if (places[1:] > places[:-1]).all() else RunOrder(shown, places)
