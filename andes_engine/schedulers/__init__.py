"""Schedulers by name. A scheduler is a score per live request; packing, gating and preemption are shared (`decision`)."""

from __future__ import annotations

from andes_engine.errors import UnknownNameError

FCFS = 0
"""vLLM's own order: first come, first served; no planning at all, preemption only when memory runs out."""

ANDES = 1
"""QoE gain per KV block; see `andes_engine.schedulers.andes`."""

SCHEDULERS: dict[str, int] = {"fcfs": FCFS, "andes": ANDES}


def scheduler_id(name: str) -> int:
    """Number of a scheduler as compiled code knows it; an unknown name gets an error listing the known ones."""
    if name not in SCHEDULERS:
        raise UnknownNameError("scheduler", name, SCHEDULERS)
    return SCHEDULERS[name]
