"""What a policy does: a point in [-1, 1]^k that moves knobs around a reference. The zero action is exactly the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import KnobError
from andes_engine.knobs import INDEX_NAMES, KNOB_NAMES, KNOBS, Knobs, knob

FloatArray = NDArray[np.float64]

ACTION_VERSION = "andes-knobs-1"

DEFAULT_ACTION_KNOBS = (
    "horizon_s",
    "kv_watermark",
    "preemption_gate",
    "running_bonus",
    "length_exponent",
    "sunk_lag_weight",
    "preemption_cap",
    "preemption_budget",
    "stall_price",
    "prefill_tokens_per_step",
    "admission_limit",
    "batch_cap",
    "kv_reserve",
)

ACTION_SPACES = {
    "knobs": DEFAULT_ACTION_KNOBS,
    "index": INDEX_NAMES,
    "both": (*DEFAULT_ACTION_KNOBS, *INDEX_NAMES),
}
"""Names for whole lists of knobs: those of the engine, the weights of each request's index, or both."""


def action_names(given: Iterable[str]) -> tuple[str, ...]:
    """Names of knobs, with the name of a space of `ACTION_SPACES` standing for its knobs."""
    return tuple(entry for name in given for entry in ACTION_SPACES.get(name, (name,)))


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """Which knobs an action moves, and around which reference.

    -1 is a knob's lower bound, +1 its upper bound, 0 the reference; in between linear, or geometric for `log` knobs.

    Args:
        names: Knobs the action moves, in the order of its entries; a name of `ACTION_SPACES` stands for its knobs.
        reference: Knobs by name where the reference differs from the paper's defaults.

    Raises:
        UnknownNameError: If a name is no knob.
        KnobError: If a name comes twice, none is given, or the reference is out of bounds.
    """

    names: tuple[str, ...] = DEFAULT_ACTION_KNOBS
    reference: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", action_names(self.names))
        object.__setattr__(self, "reference", {name: float(value) for name, value in self.reference.items()})
        for name in self.names:
            knob(name)
        if not self.names or len(set(self.names)) != len(self.names):
            raise KnobError(f"an action needs distinct knobs, got {list(self.names)}; known: {', '.join(KNOB_NAMES)}")
        Knobs(self.reference)

    @property
    def size(self) -> int:
        """Entries of an action."""
        return len(self.names)

    @property
    def knobs(self) -> Knobs:
        """The reference setting: what the zero action gives."""
        return Knobs(self.reference)

    def knob_vectors(self, actions: NDArray[np.floating]) -> FloatArray:
        """Knob vectors of a batch of actions, entries beyond [-1, 1] clipped. Shape (n, k) -> (n, KNOB_COUNT)."""
        clipped = np.asarray(actions, dtype=np.float64).clip(-1.0, 1.0)
        reference, ranges = _reference_and_ranges(self.names, tuple(self.reference.items()))
        vectors = np.repeat(reference[None, :], len(clipped), axis=0)
        for moved in ranges:
            vectors[:, moved.indices] = moved.values(clipped[:, moved.columns])
        return vectors

    def knob_vector(self, action: NDArray[np.floating]) -> FloatArray:
        """Knob vector of one action. Shape (k,) -> (KNOB_COUNT,)."""
        return self.knob_vectors(np.asarray(action)[None, :])[0]


class _Range(NamedTuple):
    """The linear or the geometric knobs among those an action moves, an entry for each."""

    columns: NDArray[np.intp]
    indices: NDArray[np.intp]
    low: FloatArray
    high: FloatArray
    reference: FloatArray
    log: bool

    @classmethod
    def of(cls, names: tuple[str, ...], reference: FloatArray, *, log: bool) -> _Range:
        indices = [KNOB_NAMES.index(name) for name in names]
        columns = [column for column, index in enumerate(indices) if KNOBS[index].log == log]
        mine = np.array([indices[column] for column in columns], dtype=np.intp)
        low, high = (np.array([getattr(KNOBS[index], end) for index in mine]) for end in ("low", "high"))
        return cls(np.array(columns, dtype=np.intp), mine, low, high, reference[mine], log)

    def values(self, amount: FloatArray) -> FloatArray:
        bound, share = np.where(amount >= 0.0, self.high, self.low), np.abs(amount)
        if self.log:
            moved = self.reference * (bound / self.reference) ** share
        else:
            moved = self.reference + (bound - self.reference) * share
        return moved.clip(self.low, self.high)


@lru_cache(maxsize=64)
def _reference_and_ranges(
    names: tuple[str, ...], given: tuple[tuple[str, float], ...]
) -> tuple[FloatArray, tuple[_Range, _Range]]:
    reference = Knobs(dict(given)).vector
    return reference, (_Range.of(names, reference, log=False), _Range.of(names, reference, log=True))
