"""Small engines and workloads that tests are built from."""

from __future__ import annotations

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.step_time import StepTime
from andes_engine.workload import Workload

STEP_TIME = StepTime("test", (0.020, 50e-6, 1e-7), (0.020, 100e-6, 60e-6, 1e-7, 0.0))
"""About 20 ms per iteration."""


def make_engine(kv_blocks: int = 2000, **limits: int) -> EngineConfig:
    """An engine of 32,000 tokens, unless told otherwise."""
    return EngineConfig("test", STEP_TIME, kv_blocks, **limits)


def make_workload(seed: int, requests: int, rate: float, mean_prompt: int = 250, mean_output: int = 120) -> Workload:
    """Poisson arrivals, geometric lengths, readers of three paces."""
    rng = np.random.default_rng(seed)
    return Workload(
        f"poisson-{seed}",
        np.cumsum(rng.exponential(1.0 / rate, requests)),
        np.minimum(rng.geometric(1.0 / mean_prompt, requests), 4000),
        np.minimum(rng.geometric(1.0 / mean_output, requests), 1000),
        np.ones(requests),
        rng.choice([0.15, 0.2, 0.25], requests),
    )


def tiny_workload(**columns: list[float]) -> Workload:
    """Two requests that are fine, except for the columns given."""
    fine = {"arrival_s": [0.0, 1.0], "prompt_tokens": [5, 5], "output_tokens": [3, 3], "ttft_s": [1.0] * 2}
    return Workload("tiny", **{**fine, "latency_s": [0.2] * 2, **columns})
