"""The simulator's one mutable owner: engines, their workloads, and the methods an environment or a run needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from andes_engine import counters as ct
from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError
from andes_engine.knobs import Knobs
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.records import RunRecord
from andes_engine.request import clear_rows
from andes_engine.schedulers import scheduler_id
from andes_engine.sim import state as st
from andes_engine.sim.observing import observe_all
from andes_engine.sim.potential import best_case_qoe_of, potentials_of
from andes_engine.sim.state import Engines, allocate, limits_of, one
from andes_engine.sim.step import advance_all
from andes_engine.workload import Workload

FloatArray = NDArray[np.float64]

DRAIN = np.inf


class Simulator:
    """Many simulated vLLM V1 engines side by side, each with its own workload, scheduler and knobs.

    Args:
        engines: Limits and speed of each engine.
        max_requests: Longest workload any of them will get.
        token_log: Keep every token's delivery time, up to this many per engine; 0 keeps none.
    """

    def __init__(self, engines: Sequence[EngineConfig], max_requests: int, token_log: int = 0) -> None:
        self.configs = list(engines)
        self.engines: Engines = allocate(self.configs, max_requests, token_log)
        self._workloads: list[Workload | None] = [None] * len(self.configs)
        self._observed_counters = np.zeros_like(self.engines.counters)
        self._observed_s = np.zeros(len(self.configs))

    def __len__(self) -> int:
        return len(self.configs)

    def set_engine(self, index: int, config: EngineConfig) -> None:
        """Put another engine in this place; call before `reset`.

        Raises:
            CapacityError: If it runs more sequences than this simulator was built for.
        """
        seqs = self.engines.running.shape[1]
        if config.max_num_seqs > seqs:
            raise CapacityError(
                f"engine '{config.name}' runs {config.max_num_seqs} sequences, this simulator at most {seqs}"
            )
        self.configs[index] = config
        self.engines.limits[index] = limits_of(config)
        self.engines.step_time[index] = config.step_time.vector

    def reset(self, index: int, workload: Workload, scheduler: str, knobs: Knobs) -> None:
        """Give one engine a workload and start its clock at 0.

        Raises:
            CapacityError: If the workload has more requests than rows, or one longer than the KV cache.
        """
        workload.check_fits(self.configs[index])
        n, rows = len(workload), self.engines.waiting.shape[1]
        if n > rows:
            raise CapacityError(
                f"workload '{workload.name}' has {n} requests, this simulator holds {rows}; raise max_requests"
            )
        mine = self.of(index)
        clear_rows(mine.table)
        for name in ("arrival_s", "ttft_s", "latency_s", "prompt_tokens"):
            mine.table[name][:n] = getattr(workload, name)
        mine.output_tokens[:n], mine.finish_s[:] = workload.output_tokens, np.nan
        mine.now_s[0], mine.counters[:], mine.rhythm[:] = 0.0, 0, 0.0
        mine.registers[:] = (0, 0, self.configs[index].kv_blocks, 0, n)
        mine.limits[st.L_SCHEDULER] = scheduler_id(scheduler)
        mine.knobs[:] = knobs.vector
        self._reset_token_log(mine, workload)
        self._observed_counters[index], self._observed_s[index] = 0, 0.0
        self._workloads[index] = workload

    @staticmethod
    def _reset_token_log(mine: Engines, workload: Workload) -> None:
        size = mine.token_s.shape[0]
        if size == 0:
            return
        if workload.output_tokens.sum() > size:
            raise CapacityError(
                f"workload '{workload.name}' has {workload.output_tokens.sum()} tokens, the log holds {size}"
            )
        mine.token_offset[: len(workload)] = np.concatenate([[0], np.cumsum(workload.output_tokens)[:-1]])

    def of(self, index: int) -> Engines:
        """Arrays of one engine (views, not copies)."""
        return one.py_func(
            self.engines, index
        )  # keeps record arrays, which compiled code would hand back as plain ones

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
        advance_all(self.engines, np.broadcast_to(np.asarray(until_s, dtype=np.float64), (len(self),)).copy())

    def observations(self) -> NDArray[np.float32]:
        """What a policy sees of every engine now. Shape (engines, OBSERVATION_SIZE), a fresh array."""
        out = np.zeros((len(self), OBSERVATION_SIZE), dtype=np.float32)
        observe_all(self.engines, self._observed_counters, self._observed_s, out)
        return out

    def observe_again(self, indices: NDArray[np.int64], observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """The observations with those of just reset engines taken anew; the others keep their last observation."""
        fresh = observations.copy()
        for index in indices:
            observe_all(
                self._slice(index), self._observed_counters[index:][:1], self._observed_s[index:][:1], fresh[index:][:1]
            )
        return fresh

    def _slice(self, index: int) -> Engines:
        return Engines(*(values[index : index + 1] for values in self.engines))  # type: ignore[arg-type]

    def requests(self) -> NDArray[np.int64]:
        """Requests in each engine's workload. Shape (engines,)."""
        return self.engines.registers[:, st.R_LIMIT].copy()

    def potentials(self) -> FloatArray:
        """`potential` of every engine. Shape (engines,)."""
        return potentials_of(self.engines)

    def drained(self, index: int) -> bool:
        """Whether every request of the workload has finished."""
        return bool(self.engines.counters[index, ct.FINISHED] == self.engines.registers[index, st.R_LIMIT])

    def potential(self, index: int) -> float:
        """Sum over the workload of each request's best-case QoE now (see `request.best_case_qoe`)."""
        return float(potentials_of(self._slice(index))[0])

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
            },
        )

    @staticmethod
    def _qoe(mine: Engines, n: int) -> dict[str, FloatArray]:
        qoe = best_case_qoe_of(mine)[:n]
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
) -> RunRecord:
    """Run one workload under one scheduler with fixed knobs, drained unless `until_s` is given."""
    simulator = Simulator([engine], len(workload), int(workload.output_tokens.sum()) if token_log else 0)
    simulator.reset(0, workload, scheduler, knobs or Knobs())
    simulator.advance(until_s)
    return simulator.record(0, scheduler)
