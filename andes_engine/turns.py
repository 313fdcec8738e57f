"""How readily requests take turns: preemption cap and gate where the engine is far ahead of its readers.

Not in the paper, whose cap and gate are two numbers. A request that is generated many times faster than it is read fills its
reader's buffer in an instant, and may then make room: taking turns costs its reader nothing. Where decoding is hardly faster than
reading, whoever is preempted twice runs out. And while what runs could supply everybody who is there, turns are all that is
missing; once it could not, some will be late whatever is done, and preemption only adds recomputation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from andes_engine import knobs as kn
from andes_engine.compile_cache import compiled
from andes_engine.step_time import step_seconds
from andes_engine.survey import Survey

FloatArray = NDArray[np.float64]

_MOST_PREEMPTIONS = 1e6
"""A cap that is none, however fast the engine and slow the reader."""


@compiled
def lead(survey: Survey, step_time: FloatArray) -> float:
    """Tokens that the running batch generates for each of its requests while the strictest reader takes in one."""
    context = survey.context_tokens * survey.running // survey.live
    return survey.strictest_s / step_seconds(step_time, 0, survey.running, context, 0, 0)


@compiled
def preemption_cap(survey: Survey, knobs: FloatArray, step_time: FloatArray) -> int:
    """How often a request may lose its KV cache: knobs `preemption_cap` and `preemption_cap_growth`."""
    cap, growth = knobs[kn.PREEMPTION_CAP], knobs[kn.PREEMPTION_CAP_GROWTH]
    if growth > 0.0 and survey.running > 0:
        cap *= max(lead(survey, step_time) / kn.USUAL_LEAD, 1.0) ** growth
    return int(round(min(cap, _MOST_PREEMPTIONS)))


@compiled
def preemption_gate(survey: Survey, knobs: FloatArray, step_time: FloatArray) -> float:
    """Newcomer's gain over its victims' needed to preempt: knobs `preemption_gate` and `preemption_gate_relief`.

    Relief is by the lead that everybody would have in turns. A gate above 1 falls to 1 at the lowest: a newcomer has to outbid.
    """
    gate, relief = knobs[kn.PREEMPTION_GATE], knobs[kn.PREEMPTION_GATE_RELIEF]
    if relief > 0.0 and survey.running > 0 and gate > 1.0:
        in_turns = lead(survey, step_time) * survey.running / survey.live
        gate = max(gate / max(in_turns / kn.USUAL_LEAD_IN_TURNS, 1.0) ** relief, 1.0)
    return gate
