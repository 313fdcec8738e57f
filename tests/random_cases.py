"""Random engines, workloads and knobs that put every mechanism of an engine to use: for tests that two ways of running agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from andes_engine.engine import EngineConfig
from andes_engine.knobs import KNOBS, Knobs
from andes_engine.lengths import LENGTH_SOURCES
from andes_engine.schedulers import SCHEDULERS
from andes_engine.sim.simulator import Simulator
from andes_engine.step_time import StepTime
from andes_engine.workload import Workload
from andes_engine.workload.prefix import PrefixHashes
from tests.builders import STEP_TIME

SLOW = StepTime("slow", (0.150, 4e-3, 1e-5), (0.150, 100e-6, 4e-3, 1e-5, 0.0))
"""Slower than every reader here: responses fall ever further behind."""


@dataclass(frozen=True)
class Case:
    """Everything `simulate` needs."""

    engine: EngineConfig
    workload: Workload
    scheduler: str
    knobs: Knobs
    lengths: str

    def started(self, token_log: bool = True, every_step: bool = False) -> Simulator:
        tokens = int(self.workload.output_tokens.sum()) if token_log else 0
        users = int(self.workload.user.max()) + 1
        simulator = Simulator([self.engine], len(self.workload), tokens, users, every_step)
        simulator.reset(0, self.workload, self.scheduler, self.knobs, self.lengths)
        return simulator


def any_knobs(rng: np.random.Generator) -> Knobs:
    """Any setting within the bounds; log knobs drawn by their logarithm, so low values occur. Half of them keep their default."""
    drawn = {
        k.name: np.exp(rng.uniform(*np.log([k.low, k.high]))) if k.log else rng.uniform(k.low, k.high) for k in KNOBS
    }
    chosen = {k.name: min(max(drawn[k.name], k.low), k.high) for k in KNOBS if rng.random() < 0.5}
    if rng.random() < 0.3:  # so low that the short responses here get that far ahead
        chosen["pause_threshold_tokens"] = rng.uniform(1.0, 6.0)
    return Knobs(chosen)


def any_workload(rng: np.random.Generator, requests: int, block_tokens: int, longest_tokens: int) -> Workload:
    """A burst of short requests of three users; some readers leave, many prompts begin alike or are equal."""
    ids, counts = [], []
    prompts = np.minimum(rng.geometric(1 / 60, requests), longest_tokens - 60)
    for row in range(requests):
        stretch = rng.integers(0, 3) * 1000
        blocks = -(-int(prompts[row]) // block_tokens)
        shared = int(rng.integers(0, blocks + 1))
        # ids of a document up to where this prompt leaves it, then its own; a last partial block has an id of its own length
        mine = [stretch + place if place < shared else 10_000 + 100 * row + place for place in range(blocks)]
        if prompts[row] % block_tokens and shared == blocks:
            mine[-1] = 100_000 + 10_000 * stretch + 100 * int(prompts[row]) + blocks
        ids += mine
        counts.append(blocks)
    arrival_s = np.cumsum(rng.exponential(rng.choice([0.01, 0.1, 0.5]), requests))
    leaves = rng.random(requests) < 0.2
    return Workload(
        f"random-{requests}",
        arrival_s,
        prompts,
        np.minimum(rng.geometric(1 / 25, requests), 59),
        rng.choice([0.3, 1.0], requests),
        rng.choice([0.03, 0.15, 0.25], requests),
        rng.integers(0, 3, requests),
        np.where(leaves, arrival_s + rng.exponential(2.0, requests), np.inf),
        PrefixHashes(ids, np.concatenate([[0], np.cumsum(counts)]), block_tokens),
    )


def any_case(seed: int, scheduler: str | None = None, requests: int = 24) -> Case:
    """A case by its seed; memory is short, so that requests compete for it."""
    rng = np.random.default_rng(seed)
    size = int(rng.choice([7, 16, 32]))
    tokens = int(rng.choice([300, 600, 1500, 6000]))
    engine = EngineConfig(
        "random",
        SLOW if rng.random() < 0.25 else STEP_TIME,
        kv_blocks=tokens // size,
        block_size_tokens=size,
        max_num_seqs=int(rng.choice([4, 12, 32])),
        max_batched_tokens=int(rng.choice([32, 64, 512])),
        prefix_caching=bool(rng.random() < 0.5),
        host_kv_blocks=int(rng.choice([0, 0, 8, 200])),
        host_copy_s_per_block=float(rng.choice([0.0, 84e-6, 2e-3])),
    )
    workload = any_workload(rng, requests, size * int(rng.choice([1, 2, 4])), tokens - 2 * size)
    name = scheduler or str(rng.choice(sorted(SCHEDULERS)))
    return Case(engine, workload, name, any_knobs(rng), str(rng.choice(sorted(LENGTH_SOURCES))))
