"""The simulator against vLLM's own scheduler and KV manager on a virtual clock, iteration by iteration.

Same workload, same step-time model, synchronous scheduling: the same requests get the same tokens in every iteration, the same
ones are preempted, and it takes as long. The rich workload has prompts that begin alike, several users and readers who leave.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from andes_engine.contender import Contender
from andes_engine.report.agreement import OutcomeAgreement, StepAgreement, outcome_agreement, step_agreement
from andes_engine.sim.step_log import LoggedStep, simulated_steps
from andes_engine.workload import Workload
from andes_engine.workload.prefix import PrefixHashes
from tests.builders import STEP_TIME, make_workload
from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM
REQUESTS = 110
STRETCH_TOKENS = 64
HOST_COPY_S = 150e-6


def plain(seed: int) -> Workload:
    """About twice what the engine can serve: memory is short for most of the run."""
    workload = make_workload(seed, REQUESTS, 25.0, mean_prompt=300, mean_output=80)
    return replace(workload, prompt_tokens=np.minimum(workload.prompt_tokens, 800))


def rich(seed: int) -> Workload:
    workload, rng = plain(seed), np.random.default_rng(seed)
    leaves_s = workload.arrival_s + rng.exponential(3.0, REQUESTS)
    ids, offsets = [], [0]
    for prompt_tokens in workload.prompt_tokens:
        stretches = -(-int(prompt_tokens) // STRETCH_TOKENS)
        shared, topic = min(int(rng.integers(6)), stretches - 1), int(rng.integers(5))
        ids += [10 * topic + place for place in range(shared)]
        ids += [1000 + offsets[-1] + place for place in range(shared, stretches)]
        offsets.append(len(ids))
    return replace(
        workload,
        user=rng.integers(0, 3, REQUESTS),
        abort_s=np.where(rng.random(REQUESTS) < 0.15, leaves_s, np.inf),
        block_hashes=PrefixHashes(np.array(ids), np.array(offsets), STRETCH_TOKENS),
    )


def agreement(
    workload: Workload, contender: Contender, prefix_caching: bool, host_kv_blocks: int = 0
) -> tuple[StepAgreement, OutcomeAgreement]:
    from andes_engine.vllm.contenders import simulated_twin
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.step_log import virtual_steps

    config = LiveConfig(kv_blocks=121, max_num_seqs=64, prefix_caching=prefix_caching, host_kv_blocks=host_kv_blocks)
    record, vllms = virtual_steps(config, STEP_TIME, workload, contender, HOST_COPY_S)
    twin = simulated_twin(config, STEP_TIME, HOST_COPY_S)
    simulator, ours = simulated_steps(twin, workload, contender.scheduler, contender.start_knobs, contender.lengths)
    steps, outcome = step_agreement(ours, vllms), outcome_agreement(simulator.record(0, contender.name), record)
    print(f"\n{contender.name}, caching {prefix_caching}, lengths {contender.lengths}: {steps}, {outcome}")
    assert record.notes.get("planner_failures", 0) == record.notes.get("ignored_decisions", 0) == 0
    return steps, outcome


def check(steps: StepAgreement, outcome: OutcomeAgreement) -> None:
    assert steps.steps > 500
    assert steps.share == 1.0
    assert abs(outcome.qoe_difference) < 1e-9
    assert outcome.preemptions[0] == outcome.preemptions[1]
    assert outcome.finish_difference_s < 1e-6


@pytest.mark.parametrize("prefix_caching", [False, True], ids=["no caching", "caching"])
@pytest.mark.parametrize("scheduler", ["fcfs", "andes", "round_robin", "least_slack"])
def test_every_iteration_is_the_same(scheduler: str, prefix_caching: bool) -> None:
    steps, outcome = agreement(plain(2), Contender(scheduler, scheduler), prefix_caching)
    check(steps, outcome)
    assert outcome.preemptions[0] > 10


@pytest.mark.parametrize("host_kv_blocks", [12, 300], ids=["little host memory", "much"])
@pytest.mark.parametrize("prefix_caching", [False, True], ids=["no caching", "caching"])
@pytest.mark.parametrize("scheduler", ["fcfs", "andes", "round_robin"])
def test_every_iteration_is_the_same_with_host_memory(
    scheduler: str, prefix_caching: bool, host_kv_blocks: int
) -> None:
    steps, outcome = agreement(rich(3), Contender(scheduler, scheduler), prefix_caching, host_kv_blocks)
    check(steps, outcome)
    assert outcome.preemptions[0] > 10


VARIANTS = {
    "fcfs": Contender("fcfs", "fcfs"),
    "andes": Contender("andes"),
    "vtc": Contender("vtc", "vtc"),
    "fcfs with vLLM's watermark": Contender("fcfs", "fcfs", {"kv_reserve": 0.1}),
    "plans kept": Contender("andes", "andes", {"planning_period_s": 0.1}),
    "small chunks": Contender("andes", "andes", {"prefill_tokens_per_step": 64.0, "kv_reserve": 0.05}),
    "prefill owed": Contender("andes", "andes", {"prefill_backlog_s": 0.1}),
    "prefill gathered": Contender("andes", "andes", {"prefill_gather_s": 0.2}),
    "turns": Contender(
        "andes", "andes", {"preemption_cap_growth": 1.0, "preemption_gate": 4.0, "preemption_gate_relief": 1.0}
    ),
    "own score": Contender("own", "tests.own_score.shortest_context"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_shared_prompts_users_and_leaving_readers(name: str) -> None:
    check(*agreement(rich(4), VARIANTS[name], prefix_caching=True))


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["hazard", "noisy"])
def test_learned_and_told_lengths(lengths: str) -> None:
    check(*agreement(rich(5), Contender("srpt", "srpt", lengths=lengths), True))


def test_pauses_keep_the_kv_cache_in_both() -> None:
    """One strict reader for whom the full batch is too slow, among readers who are soon far ahead."""
    workload = plain(6).at_rate(4.0)  # nobody waits for long: else nobody is paused
    strict = np.arange(REQUESTS) % 10 == 0
    workload = replace(workload, latency_s=np.where(strict, 0.020, 0.25))
    contender = Contender("pauses", "andes", {"pause_threshold_tokens": 4.0})
    steps, outcome = agreement(workload, contender, prefix_caching=True)
    check(steps, outcome)
    assert outcome.pauses[0] == outcome.pauses[1] > 100


def test_a_difference_is_counted_and_placed() -> None:
    steps = [LoggedStep(float(i), 1.0, ((0, i),), ()) for i in range(4)]
    other = [*steps[:2], steps[2]._replace(preempted=(1,)), steps[3]]
    assert step_agreement(steps, steps) == StepAgreement(4, 4, None)
    assert step_agreement(steps, other) == StepAgreement(3, 4, 2)
    assert step_agreement(steps, steps[:3]) == StepAgreement(3, 4, 3)
    assert step_agreement(steps, other).share == 0.75
