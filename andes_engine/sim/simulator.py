"""The simulator's one mutable owner: engines, their workloads, and the methods an environment or a run needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError
from andes_engine.knobs import Knobs
from andes_engine.records import RunRecord
from andes_engine.schedulers import OWN, scheduler_id
from andes_engine.sim import state as st
from andes_engine.sim.crew import Crew
from andes_engine.sim.loading import load_lengths, load_requests
from andes_engine.sim.potential import best_case_qoe_of
from andes_engine.sim.round import ADD_UP, ADVANCE, OBSERVE, surroundings_of
from andes_engine.sim.state import Engines, allocate, limits_of, part_of
from andes_engine.sim.step_loop import StepLoop
from andes_engine.workload import Workload

FloatArray = NDArray[np.float64]

DRAIN = np.inf


class Simulator:
    """Many simulated vLLM V1 engines side by side, each with its own workload, scheduler and knobs.

    Args:
        engines: Limits and speed of each engine.
        max_requests: Longest workload any of them will get.
        token_log: Keep every token's delivery time, up to this many per engine; 0 keeps none.
        users: Most users any workload will have.
        every_step: Run iteration by iteration, skipping none; the same outcome, slower.
        threads: Engines run on so many threads at once; the same outcome, as no engine knows of another.
    """

    def __init__(
        self,
        engines: Sequence[EngineConfig],
        max_requests: int,
        token_log: int = 0,
        users: int = 1,
        every_step: bool = False,
        threads: int = 1,
    ) -> None:
        self.configs = list(engines)
        self.engines: Engines = allocate(self.configs, max_requests, token_log, users)
        self._threads, self._every_step = threads, every_step
        self._own: dict[int, StepLoop] = {}
        self._workloads: list[Workload | None] = [None] * len(self.configs)
        self._around = surroundings_of(self.engines)
        self._crew = self._hire()

    def _hire(self) -> Crew:
        """A crew for the arrays of the engines, for as long as they stay."""
        return Crew(self.engines, self._around, self._threads, self._every_step)

    def __len__(self) -> int:
        return len(self.configs)

    def set_engine(self, index: int, config: EngineConfig) -> None:
        """Put another engine in this place; call before `reset`.

        Raises:
            CapacityError: If it runs more sequences than this simulator was built for, or caches prefixes and it was not.
        """
        seqs = self.engines.running.shape[1]
        if config.max_num_seqs > seqs:
            raise CapacityError(
                f"engine '{config.name}' runs {config.max_num_seqs} sequences, this simulator at most {seqs}"
            )
        if config.prefix_caching and config.kv_blocks >= self.engines.pool.key.shape[1]:
            raise CapacityError(
                f"engine '{config.name}' caches prefixes in {config.kv_blocks} blocks, this simulator was built for "
                f"{self.engines.pool.key.shape[1] - 1}; give it such an engine from the start"
            )
        self.configs[index] = config
        self.engines.limits[index] = limits_of(config)
        self.engines.step_time[index] = config.step_time.vector
        self.engines.copy_s[index] = config.host_copy_s_per_block
        self.engines.slowdown[index] = config.slowdown

    def reset(
        self,
        index: int,
        workload: Workload,
        scheduler: str,
        knobs: Knobs,
        lengths: str = "none",
        length_sigma: float = 0.6,
    ) -> None:
        """Give one engine a workload and start its clock at 0.

        Args:
            index: Which engine.
            workload: Its requests.
            scheduler: Name from `schedulers.SCHEDULERS`, or ``module.function`` of a user's own.
            knobs: Knobs at the start.
            lengths: Source of expected output lengths, from `lengths.LENGTH_SOURCES`.
            length_sigma: Standard deviation of the noisy source's error, in logarithms.

        Raises:
            CapacityError: If the workload has more requests than rows, or one longer than the KV cache.
        """
        workload.check_fits(self.configs[index])
        n, rows = len(workload), self.engines.waiting.shape[1]
        if n > rows:
            raise CapacityError(
                f"workload '{workload.name}' has {n} requests, this simulator holds {rows}; raise max_requests"
            )
        config = self.configs[index]
        if config.prefix_caching:
            self._widen_hashes(workload)
        mine = self.of(index)
        load_requests(mine, config, workload)
        load_lengths(mine, workload, lengths, length_sigma)
        mine.limits[st.L_SCHEDULER] = scheduler_id(scheduler)
        mine.knobs[:] = knobs.vector
        self._own.pop(index, None)
        if mine.limits[st.L_SCHEDULER] == OWN:
            self._own[index] = StepLoop(part_of(self.engines, slice(index, index + 1)), scheduler)
        self._around.observed_counters[index], self._around.observed_s[index] = 0, 0.0
        self._around.unsettled.forget(index)
        self._workloads[index] = workload

    def _widen_hashes(self, workload: Workload) -> None:
        need = 0 if workload.block_hashes is None else len(workload.block_hashes.hash_ids)
        if need > self.engines.hash_ids.shape[1]:
            wider = np.zeros((len(self), need), dtype=np.int64)
            wider[:, : self.engines.hash_ids.shape[1]] = self.engines.hash_ids
            self.engines = self.engines._replace(hash_ids=wider)
            self._crew = self._hire()

    def of(self, index: int) -> Engines:
        """Arrays of one engine (views, not copies)."""
        return part_of(self.engines, index)

    def workload(self, index: int) -> Workload:
        """The workload an engine was reset with."""
        workload = self._workloads[index]
        if workload is None:
            raise RuntimeError(f"engine {index} has no workload yet; call reset first")
        return workload

    def set_knobs(self, index: int, vector: FloatArray) -> None:
        """Knobs from now on, in the order of `knobs.KNOBS`; the caller has bounded them."""
        self.engines.knobs[index] = vector

    def advance(self, until_s: FloatArray | float) -> None:
        """Run all engines until `until_s` (scalar or one per engine), or until drained."""
        self._set_times(until_s)
        self._crew.run(ADVANCE)

    def step(self, until_s: FloatArray) -> NDArray[np.float32]:
        """One step of an environment: `advance`, `latest_potentials`, and what a policy sees then, as `observations`."""
        self._set_times(until_s)
        self._crew.run(ADVANCE + ADD_UP + OBSERVE)
        return self._around.observations.copy()

    def step_unseen(self, until_s: FloatArray) -> None:
        """The same without observations."""
        self._set_times(until_s)
        self._crew.run(ADVANCE + ADD_UP)

    def _set_times(self, until_s: FloatArray | float) -> None:
        """Say how far engines shall go; those with a scheduler of the user's own, which is Python, go now."""
        self._around.until_s[:] = until_s
        for index, loop in self._own.items():
            loop.advance(self._around.until_s[index])
            self._around.until_s[index] = -np.inf

    def observations(self) -> NDArray[np.float32]:
        """What a policy sees of every engine now. Shape (engines, OBSERVATION_SIZE), a fresh array."""
        self._crew.run(OBSERVE)
        return self._around.observations.copy()

    def observe_again(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """The observations with those of just reset engines taken anew; the others keep their last observation."""
        for index in indices:
            self._crew.run_one(int(index), OBSERVE)
        return self._around.observations.copy()

    def requests(self) -> NDArray[np.int64]:
        """Requests in each engine's workload. Shape (engines,)."""
        return self.engines.registers[:, st.R_LIMIT].copy()

    def latest_potentials(self) -> FloatArray:
        """`potential` of every engine, after a step. Shape (engines,), a fresh array."""
        return self._around.potentials.copy()

    def drained(self, index: int) -> bool:
        """Whether every request of the workload has finished."""
        return bool(self.engines.counters[index, ct.FINISHED] == self.engines.registers[index, st.R_LIMIT])

    def potential(self, index: int) -> float:
        """Sum over the workload of each request's best-case QoE now (see `request.best_case_qoe`)."""
        self._crew.run_one(index, ADD_UP)
        return float(self._around.potentials[index])

    def record(self, index: int, label: str) -> RunRecord:
        """Outcome of one engine so far."""
        mine, workload = self.of(index), self.workload(index)
        n = len(workload)
        table = mine.table[:n]
        return RunRecord(
            workload=workload,
            engine=self.configs[index].name,
            scheduler=label,
            **self._qoe(mine, n),
            first_token_s=table["first_token_s"].copy(),
            finish_s=mine.finish_s[:n].copy(),
            emitted_tokens=table["emitted_tokens"].copy(),
            preemptions=table["preemptions"].copy(),
            duration_s=float(mine.now_s[0]),
            prefill_tokens=int(mine.counters[ct.PREFILL_TOKENS]),
            token_s=self._token_times(mine, n),
            notes={
                "steps": float(mine.counters[ct.STEPS]),
                "decisions": float(mine.counters[ct.DECISIONS]),
                "planned_preemptions": float(mine.counters[ct.PLANNED_PREEMPTIONS]),
                "aborted": float(mine.counters[ct.ABORTED]),
                "pauses": float(mine.counters[ct.PAUSES]),
                "copied_blocks": float(mine.counters[ct.COPIED_BLOCKS]),
            },
        )

    @staticmethod
    def _qoe(mine: Engines, n: int) -> dict[str, FloatArray]:
        values = np.zeros(len(mine.waiting))
        best_case_qoe_of(mine, values)
        qoe = values[:n]
        return {"qoe": qoe, "qoe_lower": np.where(np.isfinite(mine.finish_s[:n]), qoe, 0.0)}

    @staticmethod
    def _token_times(mine: Engines, n: int) -> tuple[FloatArray, ...]:
        if mine.token_s.shape[0] == 0:
            return ()
        starts, counts = mine.token_offset[:n], mine.table.emitted_tokens[:n]
        return tuple(mine.token_s[start : start + count].copy() for start, count in zip(starts, counts, strict=True))


def simulate(
    engine: EngineConfig,
    workload: Workload,
    scheduler: str,
    knobs: Knobs | None = None,
    until_s: float = DRAIN,
    token_log: bool = False,
    lengths: str = "none",
    length_sigma: float = 0.6,
    every_step: bool = False,
) -> RunRecord:
    """Run one workload under one scheduler with fixed knobs, drained unless `until_s` is given; arguments as in `Simulator`."""
    log = int(workload.output_tokens.sum()) if token_log else 0
    simulator = Simulator([engine], len(workload), log, int(workload.user.max()) + 1, every_step)
    simulator.reset(0, workload, scheduler, knobs or Knobs(), lengths, length_sigma)
    simulator.advance(until_s)
    return simulator.record(0, scheduler)
