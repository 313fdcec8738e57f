"""Schedulers by name. A scheduler is a score per live request; trigger, packing, gating and preemption are shared (`decision`).

A name with a dot is a user's own score function, ``module.function`` (see `own`).
"""

from __future__ import annotations

from dataclasses import dataclass

from andes_engine.errors import UnknownNameError

FCFS = 0
"""vLLM's own order: first come, first served; no planning at all, preemption only when memory runs out."""

SARATHI = 1
"""The same order with a smaller token budget per iteration (`schedulers.sarathi`)."""

ANDES = 2
"""QoE gain per KV block; see `andes_engine.schedulers.andes`."""

(
    ANDES_MAX_MIN,
    ANDES_PERFECT,
    ANDES_EXACT,
    AUTHORS_CODE,
    OWN,
    ROUND_ROBIN,
    LEAST_QOE,
    LEAST_SLACK,
    DEADLINE,
    BUFFER_AWARE,
    MLFQ,
    VTC,
    SRPT,
) = range(3, 16)


@dataclass(frozen=True, slots=True)
class SchedulerKind:
    """A scheduler as compiled code knows it, and what it is in a line."""

    number: int
    meaning: str

    @property
    def gates(self) -> bool:
        """Whether it plans; otherwise vLLM's own decisions stand."""
        return self.number not in (FCFS, SARATHI)


SCHEDULERS: dict[str, SchedulerKind] = {
    "fcfs": SchedulerKind(FCFS, "first come, first served, as vLLM does it"),
    "sarathi": SchedulerKind(SARATHI, "first come, first served, small prefill chunks beside decodes (Sarathi-Serve)"),
    "andes": SchedulerKind(ANDES, "QoE gain per KV block, the average objective"),
    "andes_max_min": SchedulerKind(ANDES_MAX_MIN, "Andes with the max-min objective"),
    "andes_perfect": SchedulerKind(ANDES_PERFECT, "Andes with the perfect-count objective"),
    "andes_exact": SchedulerKind(ANDES_EXACT, "Andes packed by dynamic programme instead of greedily"),
    "authors_code": SchedulerKind(AUTHORS_CODE, "the logic of the Andes authors' repository, quirks included"),
    "round_robin": SchedulerKind(ROUND_ROBIN, "turns of a fixed quantum"),
    "least_qoe": SchedulerKind(LEAST_QOE, "lowest QoE so far first"),
    "least_slack": SchedulerKind(LEAST_SLACK, "reader who runs out first, counting the time to resume"),
    "deadline": SchedulerKind(DEADLINE, "earliest deadline of the next token first"),
    "buffer_aware": SchedulerKind(BUFFER_AWARE, "TokenFlow's working set: full buffers make room for empty ones"),
    "mlfq": SchedulerKind(MLFQ, "skip-join multi-level feedback queue (FastServe)"),
    "vtc": SchedulerKind(VTC, "virtual token counter: the user served least first"),
    "srpt": SchedulerKind(SRPT, "shortest expected remaining output first; needs a length source"),
}

OWN_KIND = SchedulerKind(OWN, "a user's own score function")


def scheduler_kind(name: str) -> SchedulerKind:
    """A scheduler by name; an unknown name gets an error listing the known ones. Names with a dot are user functions."""
    if name in SCHEDULERS:
        return SCHEDULERS[name]
    if "." in name:
        return OWN_KIND
    raise UnknownNameError("scheduler", name, SCHEDULERS)


def scheduler_id(name: str) -> int:
    """Number of a scheduler as compiled code knows it."""
    return scheduler_kind(name).number
