"""What is simulated in the benchmarks: populations of live requests that neither grow nor drain.

A closed loop makes them: whoever finishes is replaced by a new request. That loop is run once and recorded; what is timed is an
ordinary replay of the recorded arrivals, in which the population is the same (the simulator is deterministic).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from andes_engine import counters as ct
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError
from andes_engine.knobs import Knobs
from andes_engine.sim.simulator import Simulator
from andes_engine.step_time import preset
from andes_engine.workload import Workload

MEAN_PROMPT_TOKENS, MEAN_OUTPUT_TOKENS = 250, 300
READING_S = 0.2
"""Pace of the readers, s per token: 5 tokens/s, near the mean reading speed that Andes assumes."""

NOT_YET_S = 1e12


@dataclass(frozen=True, slots=True)
class Scene:
    """A steady population on one engine.

    Args:
        name: Shown in the tables.
        live: Requests alive at any time.
        kv_blocks: KV cache, blocks of 16 tokens; decides how many of them can run.
        scheduler: Name from `schedulers.SCHEDULERS`.
        knobs: Knobs that differ from the paper's defaults.
        warm_iterations: Iterations before the timed window, about; the start (all at once) is forgotten by then.
        timed_iterations: Iterations in the timed window, about.
        max_num_seqs: Sequences that may run at once.
        seed: Of the lengths.
    """

    name: str
    live: int
    kv_blocks: int
    scheduler: str = "fcfs"
    knobs: dict[str, float] = field(default_factory=dict)
    warm_iterations: int = 1500
    timed_iterations: int = 6000
    max_num_seqs: int = 1024
    seed: int = 0

    def shorter(self, factor: float) -> Scene:
        """The same with fewer iterations, for a test."""
        warm, timed = int(self.warm_iterations * factor), int(self.timed_iterations * factor)
        return replace(self, warm_iterations=warm, timed_iterations=timed)

    @property
    def engine(self) -> EngineConfig:
        """An H100 with Llama-3-8B, its KV cache set to `kv_blocks`."""
        return EngineConfig("h100_llama3_8b", preset("h100_llama3_8b"), self.kv_blocks, max_num_seqs=self.max_num_seqs)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A scene's requests, and the window to time.

    Args:
        scene: What was recorded.
        workload: Its requests, arriving as others leave.
        from_s: Start of the window, engine clock.
        until_s: End of the window.
    """

    scene: Scene
    workload: Workload
    from_s: float
    until_s: float

    @property
    def knobs(self) -> Knobs:
        """The scene's knobs."""
        return Knobs(self.scene.knobs)

    def simulator(self, every_step: bool = False) -> Simulator:
        """A fresh simulator at the start of the window."""
        scene = self.scene
        simulator = Simulator([scene.engine], len(self.workload), every_step=every_step)
        simulator.reset(0, self.workload, scene.scheduler, self.knobs)
        simulator.advance(self.from_s)
        return simulator

    def mean_live(self, simulator: Simulator) -> float:
        """Mean over the window of the requests alive, from what a simulator that has passed it knows."""
        left_s = simulator.of(0).finish_s[: len(self.workload)]
        until_s = np.minimum(np.where(np.isfinite(left_s), left_s, np.inf), self.until_s)
        alive_s = np.maximum(until_s - np.maximum(self.workload.arrival_s, self.from_s), 0.0)
        return float(alive_s.sum() / (self.until_s - self.from_s))


@cache
def _lengths(seed: int, requests: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    prompts = rng.geometric(1.0 / MEAN_PROMPT_TOKENS, requests)
    outputs = rng.geometric(1.0 / MEAN_OUTPUT_TOKENS, requests)
    return tuple(prompts.tolist()), tuple(outputs.tolist())


def record(scene: Scene) -> Recorded:
    """Run the closed loop, an iteration or two at a time, and note when each request was let in.

    Raises:
        AndesError: If the requests prepared do not last for the window.
    """
    iterations = scene.warm_iterations + scene.timed_iterations
    requests = scene.live + int(1.5 * scene.live * iterations / MEAN_OUTPUT_TOKENS) + 200
    workload = _requests(scene, np.full(requests, NOT_YET_S))
    simulator = Simulator([scene.engine], requests)
    simulator.reset(0, workload, scene.scheduler, Knobs(scene.knobs))
    mine, arrivals = simulator.of(0), simulator.of(0).table["arrival_s"]
    arrivals[: scene.live] = 0.0
    let_in, from_s = scene.live, 0.0
    while mine.counters[ct.STEPS] < iterations:
        simulator.advance(float(np.nextafter(mine.now_s[0], np.inf)))  # one iteration
        wanted = scene.live + int(mine.counters[ct.FINISHED])
        if wanted > requests:
            raise AndesError(f"scene '{scene.name}' used up its {requests} requests; prepare more")
        arrivals[let_in:wanted] = mine.now_s[0]
        let_in = wanted
        if mine.counters[ct.STEPS] <= scene.warm_iterations:
            from_s = float(mine.now_s[0])
    until_s = float(mine.now_s[0])
    return Recorded(scene, _requests(scene, arrivals[:let_in].copy()), from_s, until_s)


def _requests(scene: Scene, arrival_s: np.ndarray) -> Workload:
    prompts, outputs = _lengths(scene.seed, scene.live + 200_000)
    n = len(arrival_s)
    return Workload(
        scene.name, arrival_s, np.array(prompts[:n]), np.array(outputs[:n]), np.full(n, 1.0), np.full(n, READING_S)
    )
