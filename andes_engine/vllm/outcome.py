"""What a replay on a vLLM engine leaves behind, as the record every engine leaves."""

from __future__ import annotations

import numpy as np

from andes_engine import counters as ct
from andes_engine.engine import EngineConfig
from andes_engine.planner import Planner
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.records import RunRecord, record_from_tokens
from andes_engine.vllm.episode_engine import EpisodeEngine
from andes_engine.workload import Workload


def outcome(
    engine: EpisodeEngine, tier: str, twin: EngineConfig, workload: Workload, label: str, planner: Planner | None
) -> RunRecord:
    """Outcome of a drained replay; `tier` says on which kind of engine."""
    rows = range(len(workload))
    return record_from_tokens(
        workload,
        f"{twin.name} ({tier})",
        label,
        [np.asarray(engine.token_times[str(row)]) for row in rows],
        np.array([engine.preemptions[str(row)] for row in rows], dtype=np.int64),
        duration_s=engine.now_s,
        prefill_tokens=sum(sample.prefill_tokens for sample in engine.samples),
        notes=_notes(engine, planner),
    )


def _notes(engine: EpisodeEngine, planner: Planner | None) -> dict[str, float]:
    """Counters worth showing; every fallback is among them."""
    notes = {"steps": float(len(engine.samples))}
    if planner is None:
        return notes
    counters = engine.counters
    notes |= {
        "planned_preemptions": float(counters.planned_preemptions),
        "kept_preemptions": float(counters.kept),
        "host_memory_full": float(counters.host_full),
        "planner_failures": float(counters.failures),
        "ignored_decisions": float(counters.ignored),
        "pauses": float(planner.counters[ct.PAUSES]),
        "forced_admissions": float(counters.forced_admissions),
        "bad_expectations": float(planner.bad_expectations),
        "aborted": float(planner.counters[ct.ABORTED]),
    }
    if isinstance(planner.knob_source, GuardedPolicy):
        notes |= {f"policy_fallback_{cause}": float(n) for cause, n in planner.knob_source.fallbacks.items()}
        notes["policy_decisions"] = float(planner.knob_source.decisions)
    return notes
