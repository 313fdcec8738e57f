"""The statements of the Andes paper that are checked one by one, and the settings they are checked in.

Loads are shares of what FCFS saturates at on the same engine. The paper's four models (Phi-3-mini, Command R, Phi-3.5-MoE,
Llama-3.1-70B) have no calibrated step time here but the last; other classes stand in with the presets nearest to them.
"""

from __future__ import annotations

from dataclasses import replace

from agents.config import WorkloadSettings
from agents.reproduction.statement import Arm, Case, Statement
from andes_engine.engine import EngineConfig
from andes_engine.step_time import StepTime

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


def burst(lengths: str, cycle_s: float = CYCLE_S) -> WorkloadSettings:
    """The paper's cyclic burst, one cycle of it (h = 2, w = .35)."""
    arrivals = {"kind": "cyclic_burst", "period_s": cycle_s}
    return WorkloadSettings(lengths, arrivals, lengths, duration_s=cycle_s, on_too_long="drop")


def case(engine: EngineConfig, lengths: str, load: float) -> Case:
    """An engine in the paper's burst."""
    return Case(f"{engine.name}, {lengths}, load {load:g}", engine, burst(lengths), load)


FCFS, ANDES = Arm("fcfs", "fcfs"), Arm("andes")
HOST_COPY_S = 210e-6
"""A block of 16 tokens of a 70B model, 5.2 MB, over 25 GB/s, s."""

PATIENT = {"horizon_s": 200.0, "preemption_gate": 3.0, "length_exponent": 0.7, "preemption_budget": 16.0}
"""A long look ahead and a high gate: preempts rarely."""


def _where_kv_goes(knobs: dict[str, float]) -> tuple[Arm, ...]:
    host = {"host_kv_blocks": 4 * STUDY.kv_blocks, "host_copy_s_per_block": HOST_COPY_S}
    return (
        Arm("recompute", knobs=knobs),
        Arm("prefix caching", knobs=knobs, limits={"prefix_caching": True}),
        Arm("KV in host memory", knobs=knobs, limits=host),
    )


COMPUTE_BOUND = EngineConfig(
    "compute-bound", StepTime("compute-bound", (20e-3, 1e-3, 0.12e-6), (20e-3, 150e-6, 1e-3, 0.12e-6, 0.0)), 250_000
)
"""A millisecond for each sequence and memory for all: the batch is slow before it is full. Made up, for pausing."""

MIXED_READERS = {"latency_s": [0.06, 0.3], "share": [0.3, 0.7]}
"""A third reads, or listens at double speed, at 17 tokens/s; the others at 3."""

MIXED = WorkloadSettings("mixed readers", "poisson", "sharegpt", MIXED_READERS, duration_s=300.0, on_too_long="drop")

TINY = EngineConfig("cpu_tiny", "cpu_tiny_llama", 119, 32, max_num_seqs=128, max_batched_tokens=512)  # type: ignore[arg-type]
"""The live CPU engine: so few blocks that the dynamic programme packs them at every decision."""

CHAT = WorkloadSettings("sharegpt", "poisson", "sharegpt", duration_s=1200.0, on_too_long="drop")
"""Single turns at a steady rate, as the first version of the paper has them."""


def _mixed(load: float, places: int) -> Case:
    name = f"compute-bound, {places} places, mixed readers, load {load:g}"
    return Case(name, replace(COMPUTE_BOUND, max_num_seqs=places), MIXED, load)


def _knob(name: str, values: tuple[float, ...], label: str) -> tuple[Arm, ...]:
    return tuple(Arm(label.format(value), knobs={name: value}) for value in values)


RECOMPUTED = ("qoe_mean", "qoe_p10", "preemptions_per_request", "recomputed_per_request")

_STATEMENTS = (
    Statement(
        "burst",
        "Andes against FCFS in the paper's cyclic burst",
        tuple(case(engine, lengths, load) for engine in ENGINES for lengths in PAPER_LENGTHS for load in (1.0, 1.2)),
        (FCFS, ANDES),
        source="Andes v2: up to 4.7x the QoE of vLLM",
        ratio=True,
    ),
    Statement(
        "light",
        "Nothing is lost at light load",
        tuple(case(STUDY, lengths, load) for lengths in PAPER_LENGTHS for load in (0.3, 0.5)),
        (FCFS, ANDES),
        source="Andes v2: no gain at light load",
    ),
    Statement(
        "control",
        "Long prompts need preemption control, and the refiner is that control",
        tuple(case(STUDY, lengths, 1.0) for lengths in ("arxiv", "sharegpt_multi_round")),
        (
            Arm("uncontrolled", knobs=UNCONTROLLED),
            Arm("uncontrolled but refined", knobs={**UNCONTROLLED, "stall_price": 1.0}),
            Arm("default"),
            Arm("default, waiting priced", knobs={"waiting_stall_price": 0.25}),
            FCFS,
        ),
        RECOMPUTED,
        source="Andes' published log: arXiv summarisation .67 to .44 with 4.9 preemptions per request",
    ),
    Statement(
        "resume",
        "Preemption is cheaper where the KV cache survives; with a patient setting nothing of that is wasted",
        tuple(case(STUDY, lengths, 1.0) for lengths in PAPER_LENGTHS[:2]),
        _where_kv_goes(PATIENT),
        RECOMPUTED,
        source="Andes v1 and v2 preempt by recompute or by swapping",
    ),
    Statement(
        "resume_default",
        "With the paper's defaults cheap preemption is overused",
        tuple(case(STUDY, lengths, 1.0) for lengths in PAPER_LENGTHS[:2]),
        _where_kv_goes({}),
        RECOMPUTED,
        source="a finding: over 10 s a victim seems to lose little, yet in overload it waits far longer",
    ),
    Statement(
        "lengths",
        "What knowing output lengths is worth",
        (case(STUDY, "sharegpt_multi_round", 1.0),),
        tuple(
            Arm(f"{scheduler}, {lengths}", scheduler, lengths=lengths)
            for scheduler in ("andes", "srpt")
            for lengths in ("none", "hazard", "noisy", "exact")
        ),
        source="output lengths are unknown in the paper",
    ),
    Statement(
        "objectives",
        "Each objective raises what it is for",
        (case(STUDY, "sharegpt_multi_round", 1.0), case(STUDY, "arxiv", 0.8), case(STUDY, "coding", 1.2)),
        (ANDES, Arm("max-min", "andes_max_min"), Arm("perfect count", "andes_perfect")),
        ("qoe_mean", "qoe_p5", "perfect_share"),
        source="Andes section 4, other objectives",
    ),
    Statement(
        "pause",
        "Pausing those ahead pays where compute binds, and costs nothing where places or memory do",
        (_mixed(0.7, 1024), _mixed(0.8, 1024), _mixed(1.0, 256), case(STUDY, "sharegpt_multi_round", 1.0)),
        (
            Arm("never"),
            Arm("128 tokens ahead", knobs={"pause_threshold_tokens": 128.0}),
            Arm("32 tokens ahead", knobs={"pause_threshold_tokens": 32.0}),
        ),
        ("qoe_mean", "qoe_p10", "qoe_p5"),
        source="not in the paper",
    ),
    Statement(
        "steady",
        "A steady overload of single turns: the tail is saved, the first token comes at once",
        tuple(Case(f"a100_llama3_70b_tp8, sharegpt, load {load:g}", ENGINES[1], CHAT, load) for load in (1.05, 1.2)),
        (FCFS, ANDES, Arm("patient", knobs=PATIENT)),
        ("qoe_mean", "qoe_p10", "ttft_p50_s", "tokens_per_s"),
        source="Andes v1, OPT-66B at 3.3 requests/s: QoE p10 .05 to .77, median TTFT 56.7 to .47 s, at most 10 % slower",
    ),
    Statement(
        "horizon",
        "QoE depends little on the horizon",
        tuple(case(STUDY, lengths, 1.0) for lengths in PAPER_LENGTHS),
        _knob("horizon_s", (10.0, 2.0, 5.0, 30.0, 50.0, 100.0, 200.0), "{:g} s"),
        source="Andes v1 and v2: QoE is flat in the horizon",
    ),
    Statement(
        "cap",
        "How often a request may be preempted",
        tuple(case(STUDY, lengths, 1.0) for lengths in PAPER_LENGTHS),
        _knob("preemption_cap", (1.0, 0.25, 2.0, 4.0, 16.0), "at most {:g}"),
        source="Andes v1: one preemption per request is enough (0.25 of one rounds to none)",
    ),
    Statement(
        "greedy",
        "Greedy packing is as good as exact packing",
        (Case("cpu_tiny, tiny, load 1.2", TINY, burst("tiny", 60.0), 1.2),),
        (Arm("greedy"), Arm("exact", "andes_exact")),
        ("qoe_mean", "qoe_p10", "preemptions_per_request"),
        source="Andes v2: greedy is about 20 times faster and slightly better; the time of both is in benchmarks/RESULTS.md",
    ),
)

STATEMENTS: dict[str, Statement] = {statement.key: statement for statement in _STATEMENTS}
"""Statements by name."""
