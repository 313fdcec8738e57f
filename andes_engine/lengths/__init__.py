"""How many tokens a live request will still generate: nothing, a hazard learned online, a noisy oracle, the truth.

One interface for the compiled simulator and for the live planner: `expected_remaining`. Not to be confused with
`andes_engine.workload.lengths`, which makes up the lengths that are to be guessed here.
"""

from andes_engine.lengths.hazard import hazard_state, observe_censored, observe_finish
from andes_engine.lengths.sources import (
    EXACT,
    HAZARD,
    LENGTH_SOURCES,
    NOISY,
    UNKNOWN,
    LengthSource,
    expected_remaining,
    length_hints,
    length_source,
)

__all__ = [
    "EXACT",
    "HAZARD",
    "LENGTH_SOURCES",
    "NOISY",
    "UNKNOWN",
    "LengthSource",
    "expected_remaining",
    "hazard_state",
    "length_hints",
    "length_source",
    "observe_censored",
    "observe_finish",
]
