"""How far two engines agree on a workload: decision by decision, and in what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from andes_engine.records import RunRecord
from andes_engine.sim.step_log import LoggedStep

_SAME_S = 1e-9
"""Durations of one step-time model on equal loads differ by rounding only, s."""


@dataclass(frozen=True, slots=True)
class StepAgreement:
    """Two engines' iterations on the same workload, compared in order: after a first difference few can be the same.

    Args:
        identical: Iterations with the same requests, the same tokens of each, the same preemptions and the same duration.
        steps: Iterations of the engine that took more.
        first_different: Number of the first iteration that differs; None if none does.
    """

    identical: int
    steps: int
    first_different: int | None

    @property
    def share(self) -> float:
        """Share of identical iterations."""
        return self.identical / self.steps


@dataclass(frozen=True, slots=True)
class OutcomeAgreement:
    """What came of it, the second engine against the first.

    Args:
        qoe_difference: Of the mean headline QoE.
        preemptions: Of each engine.
        pauses: Iterations that running requests skipped, of each engine.
        finish_difference_s: Largest over the requests that finished in both, s.
    """

    qoe_difference: float
    preemptions: tuple[int, int]
    pauses: tuple[int, int]
    finish_difference_s: float


def step_agreement(first: Sequence[LoggedStep], second: Sequence[LoggedStep]) -> StepAgreement:
    """Compare what two engines did, iteration by iteration."""
    same = [_is_same(mine, other) for mine, other in zip(first, second, strict=False)]
    steps = max(len(first), len(second))
    different = same.index(False) if False in same else (None if len(first) == len(second) else len(same))
    return StepAgreement(sum(same), steps, different)


def _is_same(first: LoggedStep, second: LoggedStep) -> bool:
    same = first.computed == second.computed and first.preempted == second.preempted
    return same and abs(first.duration_s - second.duration_s) <= _SAME_S


def outcome_agreement(first: RunRecord, second: RunRecord) -> OutcomeAgreement:
    """Compare two records of the same workload.

    Raises:
        ValueError: If the workloads differ.
    """
    if first.workload != second.workload:
        raise ValueError(f"records of different workloads: '{first.workload.name}' and '{second.workload.name}'")
    both = first.finished & second.finished
    apart_s = np.abs(first.finish_s[both] - second.finish_s[both])
    return OutcomeAgreement(
        float(second.qoe.mean() - first.qoe.mean()),
        (int(first.preemptions.sum()), int(second.preemptions.sum())),
        (int(first.notes.get("pauses", 0)), int(second.notes.get("pauses", 0))),
        float(apart_s.max(initial=0.0)),
    )
