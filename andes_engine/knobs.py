"""Every tunable of the scheduling core: the only list of them, with unit, bounds and the paper's default.

Compiled code reads knobs from a float64 vector by the index constants below; people read and write them by name. The knobs whose
name begins with `index_` are weights of a request's features in its value (`request_index`); 0, the default, ignores a feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import KnobError, UnknownNameError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Knob:
    """One tunable. `log` knobs are searched and acted upon on a logarithmic scale; counts round, so 0.25 of them is none."""

    name: str
    unit: str
    low: float
    high: float
    default: float
    log: bool
    meaning: str


INDEX_PREFIX = "index_"
_MOST_WEIGHT = 4.0


def _weight(feature: str, meaning: str) -> Knob:
    return Knob(INDEX_PREFIX + feature, "log value", -_MOST_WEIGHT, _MOST_WEIGHT, 0.0, False, f"weight of {meaning}")


INDEX_KNOBS: tuple[Knob, ...] = (
    _weight("size", "the context, log2 of 1,024 tokens / 4"),
    _weight("remaining", "the output still expected, log2 of 256 tokens / 4; nothing where no length source says"),
    _weight("resume", "the price of resuming, log1p of s"),
    _weight("overdue", "how long its reader has waited for the next token, log1p of s / 3"),
    _weight("ahead", "how far it is ahead of its reader, log1p of s / 3"),
    _weight("age", "the time since arrival, log1p of s / 5"),
    _weight("emitted", "the tokens delivered, log2(1 + tokens) / 8"),
    _weight("unseen", "having had no token yet, 0 or 1"),
    _weight("preempted", "the times preempted, log2(1 + times)"),
    _weight("pace", "the reader's pace, log2 of 5 tokens/s"),
    _weight("lag", "the QoE lost already, 1 - QoE so far"),
)
"""Weights of the index, in the order of `request_index.weigh`: what a request is worth is multiplied by exp(sum of weight x
feature)."""

USUAL_READING_S = 40.0
"""Time that reading 200 tokens takes at 5 tokens/s: half of a chat response."""
USUAL_LEAD = 8.0
"""Tokens that an engine generates for a request while its reader takes in one: about as on an RTX 4090 with an 8B model."""
USUAL_LEAD_IN_TURNS = 3.0
"""The same where all requests, running and waiting, share what is generated: some of them will be late below about this."""

KNOBS: tuple[Knob, ...] = (
    Knob("horizon_s", "s", 1.0, 400.0, 10.0, True, "how far ahead being served is compared with waiting (paper: dt)"),
    Knob("kv_watermark", "share", 0.5, 1.0, 0.9, False, "share of KV blocks in demand above which requests compete"),
    Knob("preemption_gate", "ratio", 0.25, 16.0, 1.0, True, "newcomer's gain over its victims' needed to preempt"),
    Knob("running_bonus", "ratio", 0.5, 4.0, 1.1, True, "factor on the priority of requests already running"),
    Knob("length_exponent", "1", 0.0, 2.0, 1.0, False, "gamma in priority = gain / KV blocks ** gamma"),
    Knob(
        "sunk_lag_weight", "1", 0.0, 1.0, 0.0, False, "weight of lag already suffered; 0 forgives it (anti-starvation)"
    ),
    Knob(
        "preemption_cap",
        "preemptions",
        0.25,
        16.0,
        1.0,
        True,
        "preemptions after which a request is left alone (v1: P)",
    ),
    Knob("preemption_budget", "preemptions", 0.25, 64.0, 1.0, True, "victims per plan (the paper states none)"),
    Knob(
        "stall_price",
        "ratio",
        0.0,
        4.0,
        1.0,
        False,
        "weight of the stall a preemption causes; 0 switches the refiner off",
    ),
    Knob(
        "waiting_stall_price",
        "ratio",
        0.0,
        4.0,
        0.0,
        False,
        "weight of the same stall for the requests that wait, beside those that run (the paper counts the running only)",
    ),
    Knob(
        "prefill_tokens_per_step", "tokens", 32.0, 8192.0, 8192.0, True, "prefill tokens per iteration besides decodes"
    ),
    Knob("admission_limit", "requests", 1.0, 256.0, 256.0, True, "requests admitted per decision"),
    Knob("batch_cap", "sequences", 4.0, 1024.0, 1024.0, True, "running sequences at most"),
    Knob("kv_reserve", "share", 0.0, 0.3, 0.0, False, "share of KV blocks admission leaves free for running requests"),
    Knob(
        "pause_threshold_tokens",
        "tokens",
        1.0,
        4096.0,
        4096.0,
        True,
        "tokens ahead of its reader from which a request may skip iterations that are too slow for the strictest reader; "
        "4096 never pauses (the paper has no pause)",
    ),
    Knob(
        "planning_period_s", "s", 0.0, 1.0, 0.0, False, "time between plans; 0 plans every iteration, as the paper does"
    ),
    Knob(
        "prefill_backlog_s",
        "s",
        0.05,
        100.0,
        100.0,
        True,
        "time for the prefill that admitted requests may owe; with more to do requests compete, and newcomers wait; 100 never "
        "limits it (the paper does not)",
    ),
    Knob(
        "horizon_growth",
        "1",
        0.0,
        1.0,
        0.0,
        False,
        "how the horizon grows with what there is to read: times (mean time that readers need for the output still expected over "
        f"{USUAL_READING_S:g} s) ** growth; at 0 and without a length source `horizon_s` is all (as in the paper)",
    ),
    Knob(
        "prefill_gather_s",
        "s",
        0.0,
        1.0,
        0.0,
        False,
        "longest time between iterations with newcomers while it pays that they wait for company: prefill, however little, slows "
        "down those who decode; 0 lets them in at once (as in the paper)",
    ),
    Knob(
        "preemption_cap_growth",
        "1",
        0.0,
        1.0,
        0.0,
        False,
        "how the preemption cap grows where decoding is far faster than reading: times (pace of the strictest reader over token "
        f"latency over {USUAL_LEAD:g}) ** growth, never less than once; at 0 `preemption_cap` is all (as in the paper)",
    ),
    Knob(
        "preemption_gate_relief",
        "1",
        0.0,
        4.0,
        0.0,
        False,
        "how a gate above 1 falls, to 1 at least, while the running batch could supply everybody in turns: over (pace of the "
        f"strictest reader over token latency x running over live requests over {USUAL_LEAD_IN_TURNS:g}) ** relief; at 0 "
        "`preemption_gate` is all (as in the paper)",
    ),
    *INDEX_KNOBS,
)

KNOB_NAMES: tuple[str, ...] = tuple(knob.name for knob in KNOBS)
KNOB_COUNT = len(KNOBS)
INDEX_NAMES: tuple[str, ...] = tuple(knob.name for knob in INDEX_KNOBS)
INDEX = KNOB_COUNT - len(INDEX_KNOBS)
"""Where the weights of the index begin."""
(
    HORIZON_S,
    KV_WATERMARK,
    PREEMPTION_GATE,
    RUNNING_BONUS,
    LENGTH_EXPONENT,
    SUNK_LAG_WEIGHT,
    PREEMPTION_CAP,
    PREEMPTION_BUDGET,
    STALL_PRICE,
    WAITING_STALL_PRICE,
    PREFILL_TOKENS_PER_STEP,
    ADMISSION_LIMIT,
    BATCH_CAP,
    KV_RESERVE,
    PAUSE_THRESHOLD_TOKENS,
    PLANNING_PERIOD_S,
    PREFILL_BACKLOG_S,
    HORIZON_GROWTH,
    PREFILL_GATHER_S,
    PREEMPTION_CAP_GROWTH,
    PREEMPTION_GATE_RELIEF,
) = range(INDEX)


def knob(name: str) -> Knob:
    """Look a knob up; an unknown name gets an error with the nearest known one."""
    if name not in KNOB_NAMES:
        raise UnknownNameError("knob", name, KNOB_NAMES)
    return KNOBS[KNOB_NAMES.index(name)]


@dataclass(frozen=True, slots=True, eq=False)
class Knobs(Mapping[str, float]):
    """A setting of all knobs, checked against their bounds.

    Args:
        overrides: Values by name; what is not named keeps the paper's default.

    Raises:
        UnknownNameError: If a name is no knob.
        KnobError: If a value is not finite or out of bounds.
    """

    vector: FloatArray

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        vector = np.array([entry.default for entry in KNOBS])
        for name, value in (overrides or {}).items():
            vector[KNOB_NAMES.index(knob(name).name)] = _checked(knob(name), value)
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    @classmethod
    def from_vector(cls, vector: FloatArray) -> Knobs:
        """Knobs from values in the order of `KNOBS`, checked."""
        if np.shape(vector) != (KNOB_COUNT,):
            raise KnobError(f"need {KNOB_COUNT} knob values ({', '.join(KNOB_NAMES)}), got shape {np.shape(vector)}")
        return cls(dict(zip(KNOB_NAMES, map(float, vector), strict=True)))

    def __getitem__(self, name: str) -> float:
        return float(self.vector[KNOB_NAMES.index(knob(name).name)])

    def __iter__(self) -> Iterator[str]:
        return iter(KNOB_NAMES)

    def __len__(self) -> int:
        return KNOB_COUNT

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Knobs) and np.array_equal(self.vector, other.vector)

    def __hash__(self) -> int:
        return hash(self.vector.tobytes())


def _checked(entry: Knob, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise KnobError(f"knob '{entry.name}' = {value!r} is not a number; give {entry.unit} as a number") from None
    if not entry.low <= number <= entry.high:
        raise KnobError(
            f"knob '{entry.name}' = {value} {entry.unit} is out of bounds; allowed are {entry.low:g} to {entry.high:g}"
        )
    return number
