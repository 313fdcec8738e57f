"""The environments' manual page, generated from the specifications so that it cannot drift from them."""

from __future__ import annotations

from collections.abc import Sequence

from andes_engine.action import ACTION_VERSION, DEFAULT_ACTION_KNOBS
from andes_engine.knobs import knob
from andes_engine.observation import BOUND, FEATURES, OBSERVATION_VERSION

_PAGE = """Tune a QoE-aware scheduler's knobs while it serves streamed text.

## Description
Requests arrive at an LLM engine (vLLM V1, simulated or live) faster than its KV cache can hold them. The Andes scheduler decides
at every iteration who is served, who waits and who is preempted; the agent sets the knobs it decides with, once per decision
interval. Andes with its reference knobs is the baseline: it is what the zero action gives, decision for decision.

## Action Space
`Box(-1, 1, ({actions},), float32)`, version `{action_version}`. 0 is the reference, -1 and +1 are the bounds, in between linear
or, for knobs marked log, geometric. The knobs are `EnvConfig.action.names`, by default:

{action_table}

## Observation Space
`Box(-{bound:g}, {bound:g}, ({features},), float32)`, version `{observation_version}`. Only what a real server knows, never the
output length.

{observation_table}

## Rewards
`qoe`: change of the workload's mean best-case QoE, where best case means that every missing token is delivered right now. It is
at most 0, dense, and its sum over an episode is exactly the mean headline QoE of the report minus 1. `preemption`: minus
preemptions per request. `reference`: minus the change of QoE under the reference knobs on the same requests. Weights in
`EnvConfig.reward`; the sums of the unweighted terms are in `info["reward_terms"]`.

## Starting State
An empty engine at time 0, before the first arrival. The engine and how it differs from its configuration (`EnvConfig.variation`),
the kind of traffic, the load and the requests are drawn from the seed. `options={{"workload": ..., "engine": ...}}` fixes them.

## Episode End
Terminated when every request has all its tokens. Truncated at `EnvConfig.time_limit_s`; `info` then has both bounds of the mean
QoE, `episode_qoe` (the rest delivered right after the cut) and `episode_qoe_lower` (never delivered).

## Arguments
`config`: an `envs.EnvConfig`. `render_mode`: `ansi`, `rgb_array` or None.

## Version History
v0: first version.
"""


def manual() -> str:
    """The page, in the form Gymnasium's own environments have."""
    knobs = [knob(name) for name in DEFAULT_ACTION_KNOBS]
    action_rows = [
        (str(n), k.name, k.unit, f"{k.low:g}", f"{k.high:g}", f"{k.default:g}", "log" if k.log else "linear")
        for n, k in enumerate(knobs)
    ]
    rows = [(str(n), f.name, f.unit, f.meaning) for n, f in enumerate(FEATURES)]
    return _PAGE.format(
        actions=len(knobs),
        action_version=ACTION_VERSION,
        action_table=_table(("Num", "Knob", "Unit", "-1", "+1", "Paper's default", "Scale"), action_rows),
        bound=BOUND,
        features=len(FEATURES),
        observation_version=OBSERVATION_VERSION,
        observation_table=_table(("Num", "Observation", "Unit", "Meaning"), rows),
    )


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
