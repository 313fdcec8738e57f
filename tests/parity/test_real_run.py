"""The engines against a real vLLM run on a GPU, with step times fitted to kernel times of that GPU and to nothing else.

The run is not part of the project: 300 ShareGPT requests at 10/s on an RTX 4090 under vLLM 0.19.0, Llama-3.1-8B (LLMServingSim,
MIT). It schedules asynchronously, so the host works while the device does and no host time is added.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from andes_engine.engine import EngineConfig
from andes_engine.kernel_profile import KernelProfile, ProfileGrid, fit_profile
from andes_engine.sim.simulator import simulate
from andes_engine.step_time import FitReport, StepTime, preset
from andes_engine.workload.recorded_run import RecordedRun, load_recorded_run
from tests.live.stubs import NEEDS_VLLM

RUN = Path(__file__).parents[3] / "shared" / "real_runs" / "rtx4090_llama3.1_8b_vllm0.19"
LAYERS = 32
BAR = 0.02
FloatArray = NDArray[np.float64]

pytestmark = pytest.mark.skipif(
    not RUN.is_dir(), reason="the recorded vLLM run is not here (../shared/real_runs/rtx4090_llama3.1_8b_vllm0.19)"
)


@pytest.fixture(scope="module")
def run() -> RecordedRun:
    return load_recorded_run(RUN)


@pytest.fixture(scope="module")
def report(run: RecordedRun) -> FitReport:
    engine = run.engine
    grid = ProfileGrid((engine.kv_blocks - 1) * engine.block_size_tokens, engine.max_batched_tokens)
    return fit_profile(KernelProfile(RUN / "profile", LAYERS), grid, "rtx4090")


def test_the_model_describes_the_profile(report: FitReport) -> None:
    assert report.form == "roofline"
    assert report.decode.cv_mape < 0.02
    assert report.mixed.cv_mape < 0.04
    assert report.tried["linear"] > 1.5 * report.tried["roofline"]
    assert 1.5 < report.model.mixed_attention < 2.2  # attention of decodes beside prefill is no plain sum on this GPU


def test_the_preset_is_this_fit(report: FitReport) -> None:
    np.testing.assert_allclose(preset("rtx4090_llama3_8b").vector, report.model.vector, rtol=1e-3)


def replay_virtual(run: RecordedRun, model: StepTime) -> tuple[FloatArray, FloatArray]:
    """VLLM's own scheduler and KV manager on a virtual clock."""
    from andes_engine.vllm.contenders import episode_requests
    from andes_engine.vllm.episode import LiveConfig
    from andes_engine.vllm.virtual_clock import VirtualEngine

    engine, workload = run.engine, run.workload
    config = LiveConfig(
        block_size=engine.block_size_tokens,
        kv_blocks=engine.kv_blocks,
        max_batched_tokens=engine.max_batched_tokens,
        max_num_seqs=engine.max_num_seqs,
        max_model_len=8192,
        prefix_caching=engine.prefix_caching,
    )
    virtual = VirtualEngine(config, model, "stock", pipelined=engine.async_scheduling, strict=False)
    times = virtual.replay(episode_requests(workload)).token_times
    ends = np.array([(times[str(row)][0], times[str(row)][-1]) for row in range(len(workload))])
    return ends[:, 0], ends[:, 1]


def replay_simulated(run: RecordedRun, model: StepTime) -> tuple[FloatArray, FloatArray]:
    """The simulator, which knows each token before it plans the next iteration."""
    engine = EngineConfig(
        "rtx4090",
        model,
        kv_blocks=run.engine.kv_blocks - 1,  # vLLM keeps one for itself
        block_size_tokens=run.engine.block_size_tokens,
        max_num_seqs=run.engine.max_num_seqs,
        max_batched_tokens=run.engine.max_batched_tokens,
        prefix_caching=run.engine.prefix_caching,
    )
    record = simulate(engine, run.workload, "fcfs")
    return record.first_token_s, record.finish_s


@pytest.mark.slow
@pytest.mark.parametrize("replay", [pytest.param(replay_virtual, marks=NEEDS_VLLM, id="virtual"), replay_simulated])
def test_latencies_are_those_of_the_real_run(
    run: RecordedRun, report: FitReport, replay: Callable[[RecordedRun, StepTime], tuple[FloatArray, FloatArray]]
) -> None:
    agreement = run.agreement(*replay(run, report.model))
    print(f"\n{agreement}")
    assert abs(agreement.ttft) <= BAR
    assert abs(agreement.tpot) <= BAR
    assert abs(agreement.e2e) <= BAR
    assert agreement.e2e_mape <= BAR
