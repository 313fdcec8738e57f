"""What a replay against a server leaves behind, as the record every engine leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from andes_engine.client.completions import ABORTED
from andes_engine.client.open_loop import Sent
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.workload import Workload


def client_record(
    workload: Workload,
    sent: Mapping[int, Sent],
    engine: str,
    scheduler: str,
    duration_s: float,
    **notes: float | None,
) -> RunRecord:
    """Outcome of a replay, measured where the tokens arrive.

    Times count from when a request should have gone out, so that a slow sender counts against the result, not for it. Tokens
    beyond those asked for are left out; a response that failed is unfinished. What only the server knows is NaN.

    Args:
        workload: What was asked.
        sent: What became of each request, by row.
        engine: Name of the server.
        scheduler: Name of its scheduler.
        duration_s: Time until the last answer, s.
        **notes: Further numbers worth showing; None is left out.
    """
    rows = range(len(workload))
    return record_from_tokens(
        workload,
        engine,
        scheduler,
        [np.array(sent[row].token_s[: workload.output_tokens[row]]) for row in rows],
        np.full(len(workload), np.nan),
        duration_s=duration_s,
        prefill_tokens=np.nan,
        notes=_notes(workload, sent) | {name: value for name, value in notes.items() if value is not None},
    )


def _notes(workload: Workload, sent: Mapping[int, Sent]) -> dict[str, float]:
    """How late requests went out, and how many failed, by kind."""
    lag_s = np.array([sent[row].sent_s for row in range(len(workload))]) - workload.arrival_s
    kinds = Counter(outcome.failure for outcome in sent.values() if outcome.failure)
    return {
        "send_lag_p50_s": float(np.quantile(lag_s, 0.5)),
        "send_lag_p99_s": float(np.quantile(lag_s, 0.99)),
        "send_lag_max_s": float(lag_s.max()),
        "aborted": float(kinds.pop(ABORTED, 0)),
        "failed": float(kinds.total()),
        **{f"failed_{kind}": float(count) for kind, count in sorted(kinds.items())},
    }
