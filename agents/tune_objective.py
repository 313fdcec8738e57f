"""What a search makes large: differences to a reference on the same requests, weighted, over all training workloads alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from agents.schema import ConfigError
from agents.suite import Run, Setting, Suite
from andes_engine.contender import Contender
from andes_engine.errors import AndesError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated


class NotFiniteError(AndesError):
    """A setting whose objective is no number."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a candidate does beyond the reference in one workload; each is logged apart.

    Args:
        qoe_mean: Difference of mean headline QoE.
        qoe_p10: Difference of its tenth percentile.
        late_share: Difference of the share of requests more than 60 s late.
        throughput_loss: Share of the reference's tokens/s that is lost, >= 0.
    """

    qoe_mean: float
    qoe_p10: float
    late_share: float
    throughput_loss: float

    @classmethod
    def of(cls, candidate: RunRecord, reference: RunRecord) -> Terms:
        """From two runs of the same requests."""
        ours, theirs = summarize(candidate), summarize(reference)
        mean, p10, late = (ours[key] - theirs[key] for key in ("qoe_mean", "qoe_p10", "late_share"))
        return cls(mean, p10, late, max(0.0, 1.0 - ours["tokens_per_s"] / theirs["tokens_per_s"]))


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """Weights of `Terms`: QoE counts for, lateness and lost throughput against; none may be negative.

    Args:
        qoe_mean: Weight of mean headline QoE, > 0.
        qoe_p10: Weight of the tenth percentile, so that the mean is not bought by giving requests up.
        late_share: Weight of the share more than 60 s late, for the same reason.
        throughput_loss: Weight of lost tokens/s.
        worst_quarter: Share of the mean over the worst quarter of workloads in the total, 0 to 1; the rest is the mean over all.

    Raises:
        ConfigError: If a weight is out of bounds.
    """

    qoe_mean: float = 1.0
    qoe_p10: float = 0.1
    late_share: float = 0.2
    throughput_loss: float = 0.1
    worst_quarter: float = 0.0

    def __post_init__(self) -> None:
        weights = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0.0):
                raise ConfigError(f"{name} = {weight} must be a finite weight >= 0")
        if self.qoe_mean == 0.0 or self.worst_quarter > 1.0:
            raise ConfigError("qoe_mean must be > 0 and worst_quarter a share of at most 1")

    def score(self, terms: Terms) -> float:
        """One workload's terms as one number; larger is better, 0 is the reference."""
        gained = self.qoe_mean * terms.qoe_mean + self.qoe_p10 * terms.qoe_p10
        return gained - self.late_share * terms.late_share - self.throughput_loss * terms.throughput_loss

    def total(self, scores: Sequence[float]) -> float:
        """All workloads' scores as one number."""
        worst = np.sort(scores)[: max(1, len(scores) // 4)]
        return float((1.0 - self.worst_quarter) * np.mean(scores) + self.worst_quarter * np.mean(worst))


class Course:
    """The training workloads in a fixed order, drawn once for each process, with what the reference does in each.

    Args:
        settings: Where the workloads come from.
        reference: What candidates are measured against.
        seed: Of the order; it mixes engines and traffic, so that the first few workloads say something of all.
    """

    def __init__(self, settings: Sequence[Setting], reference: Contender, seed: int) -> None:
        runs = Suite("tuning", tuple(settings)).runs([reference])
        self._runs = [runs[place] for place in np.random.default_rng(seed).permutation(len(runs))]
        self._references = [_simulated(run, reference) for run in self._runs]

    def __len__(self) -> int:
        return len(self._runs)

    def terms(self, contender: Contender) -> Iterable[Terms]:
        """What a contender does beyond the reference, workload by workload."""
        for run, reference in zip(self._runs, self._references, strict=True):
            yield Terms.of(_simulated(run, contender), reference)


def mean_terms(terms: Sequence[Terms]) -> dict[str, float]:
    """Each term's mean over workloads, by name."""
    return {entry.name: float(np.mean([getattr(each, entry.name) for each in terms])) for entry in fields(Terms)}


def _simulated(run: Run, contender: Contender) -> RunRecord:
    return run_simulated(run.setting.engine, run.scenario.workload, contender)
