"""The statements of the Andes paper that this project reproduces in shape, and the settings they are checked in.

Loads are shares of what FCFS saturates at on the same engine. The paper's four models (Phi-3-mini, Command R, Phi-3.5-MoE,
Llama-3.1-70B) have no calibrated step time here but the last; other classes stand in with the presets nearest to them.
"""

from __future__ import annotations

from andes_engine.engine import EngineConfig
from andes_engine.report.shape import Case
from andes_engine.step_time import StepTime
from andes_engine.workload.arrivals import CyclicBurst
from andes_engine.workload.generate import WorkloadSpec
from andes_engine.workload.lengths import LENGTHS
from andes_engine.workload.readers import FIXED_TTFT, READING, ReaderMix

CYCLE_S = 1200.0
"""One cycle of the paper's burst, s: the peak for 35 % of it, then the rest."""

STUDY_STEP_TIME = StepTime("study", (25e-3, 50e-6, 0.12e-6), (25e-3, 150e-6, 50e-6, 0.12e-6, 0.0))
"""A 70B model on eight A100: 25 ms + 150 us/prefill token + 50 us/sequence + 0.12 us/context token. Round numbers, not fitted."""

STUDY = EngineConfig("study", STUDY_STEP_TIME, kv_blocks=446_000 // 16, max_num_seqs=512)
"""The same with the memory of eight A100-40G beside the weights: 446,000 tokens."""

ENGINES: tuple[EngineConfig, ...] = (
    STUDY,
    EngineConfig("a100_llama3_70b_tp8", "a100_llama3_70b_tp8", 446_000 // 16, max_num_seqs=512),  # type: ignore[arg-type]
    EngineConfig("a100_llama3_8b", "a100_llama3_8b", 28_250, max_num_seqs=512),  # type: ignore[arg-type]
    EngineConfig("h100_llama3_70b_tp4", "h100_llama3_70b_tp4", 30_375, max_num_seqs=512),  # type: ignore[arg-type]
)
PAPER_LENGTHS = ("sharegpt_multi_round", "arxiv", "coding")

UNCONTROLLED = {
    "stall_price": 0.0,
    "preemption_cap": 16.0,
    "preemption_budget": 64.0,
    "preemption_gate": 0.25,
    "running_bonus": 1.0,
}
"""No gate, no cap, no bonus for running requests, no refiner."""


def burst(lengths: str, load: float, readers: ReaderMix = READING, cycle_s: float = CYCLE_S) -> WorkloadSpec:
    """The paper's cyclic burst, one cycle of it (h = 2, w = .35)."""
    arrivals = CyclicBurst(period_s=cycle_s)
    return WorkloadSpec(
        f"{lengths} at load {load:g}", arrivals, LENGTHS[lengths], readers, FIXED_TTFT, duration_s=cycle_s, load=load
    )


def case(engine: EngineConfig, lengths: str, load: float) -> Case:
    """An engine in the paper's burst."""
    return Case(f"{engine.name}, {lengths}, load {load:g}", engine, burst(lengths, load))
