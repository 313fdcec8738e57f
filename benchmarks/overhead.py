"""What the scheduler costs inside vLLM: `python -m benchmarks.overhead [--live 50 200 500] [--steps 300] [--repeats 3]`.

vLLM's own scheduler and ours, on vLLM's own data structures and in turns, step by step, in one process; the device is the
virtual clock's. What is timed is `schedule` and `update_from_output`, in processor time of the thread, so that what else the
machine does is not counted, and of ours also what of it is vLLM's own. Populations are those of `benchmarks.scenes`: closed
loops of so many live requests, with room for all of them, or memory for about two thirds. All are measured several times, in
turns, as other users slow a machine down; reported is the repeat in which vLLM's own methods were fastest, with the range of all.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from andes_engine.contender import Contender
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import episode_requests, planner_for, simulated_twin
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from benchmarks.data_file import made_by, write_data
from benchmarks.lines import pinned
from benchmarks.overhead_page import Overhead, page_of, quietest, table
from benchmarks.scenes import Scene, record

BLOCK_TOKENS = 16
ROOMY_BLOCKS = 28_250
SCARCE_BLOCKS_PER_REQUEST = 18
PERIODS_S = (0.0, 0.1)
"""Time between plans: of the paper (every step), and of conf/scheduler/tuned_andes.yaml."""


class TimedEngine:
    """An engine on the virtual clock whose scheduler is timed: in all, and vLLM's own methods in it."""

    METHODS = ("schedule", "update_from_output")

    def __init__(self, scene: Scene) -> None:
        """Record the scene, replay it until the population is steady."""
        recorded, model = record(scene), preset("h100_llama3_8b")
        config = LiveConfig(
            block_size=BLOCK_TOKENS,
            kv_blocks=scene.kv_blocks + 1,
            max_batched_tokens=2048,
            max_num_seqs=scene.max_num_seqs,
            max_model_len=8192,
            prefix_caching=True,  # vLLM's default, and more to look up
        )
        planner = planner_for(Contender(scene.name, scene.scheduler, scene.knobs), simulated_twin(config, model))
        self._engine = VirtualEngine(config, model, "stock" if planner is None else "andes", strict=False)
        self._engine.set_planner(planner)
        self._engine.reset(episode_requests(recorded.workload))
        self._engine.advance(recorded.from_s)
        self._spent_s = {"all": 0.0, "vllm": 0.0}
        self.scheduler: Any = self._engine._scheduler
        for name in self.METHODS:
            setattr(self.scheduler, name, self._timed(getattr(self.scheduler, name), "all"))

    @contextmanager
    def vllms_own_timed(self) -> Iterator[None]:
        """Also time the methods of vLLM that ours call."""
        from vllm.v1.core.sched.scheduler import Scheduler

        own = {name: getattr(Scheduler, name) for name in self.METHODS}
        for name, call in own.items():
            setattr(Scheduler, name, self._timed(call, "vllm"))
        try:
            yield
        finally:
            for name, call in own.items():
                setattr(Scheduler, name, call)

    def _timed(self, call: Any, kind: str) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before_s = thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._spent_s[kind] += thread_time() - before_s

        return timed

    def step(self) -> tuple[float, float, float, int]:
        """Run one step; what the scheduler took, what of it was vLLM's own, what the device took, s; and who runs."""
        self._spent_s.update(all=0.0, vllm=0.0)
        before_s = self._engine.now_s
        self._engine.advance(float(np.nextafter(before_s, np.inf)))
        took_s = self._engine.now_s - before_s
        return self._spent_s["all"], self._spent_s["vllm"], took_s, len(self.scheduler.running)


def scenes(live: int, scarce: bool, steps: int, period_s: float) -> tuple[Scene, Scene]:
    """The same population under vLLM's own order and under Andes, with so much time between plans."""
    blocks = SCARCE_BLOCKS_PER_REQUEST * live if scarce else ROOMY_BLOCKS
    shared: dict[str, Any] = {"warm_iterations": 200, "timed_iterations": 2 * steps}
    stock = Scene("stock", live, blocks, **shared)
    return stock, Scene("andes", live, blocks, "andes", {"planning_period_s": period_s}, **shared)


def measure(live: int, scarce: bool, steps: int, period_s: float) -> Overhead:
    """Both schedulers in turns, a step each."""
    stock, andes = (TimedEngine(scene) for scene in scenes(live, scarce, steps, period_s))
    took = []
    for _ in range(steps):
        of_stock = stock.step()
        with andes.vllms_own_timed():
            took.append((of_stock, andes.step()))
    of = np.array(took)  # steps, engines, what
    stock_ms, andes_ms = (1e3 * float(np.median(of[:, engine, 0])) for engine in (0, 1))
    stock_running, andes_running = of[:, :, 3].mean(axis=0).tolist()
    added_ms = 1e3 * (of[:, 1, 0] - of[:, 1, 1])
    return Overhead(
        live=live,
        memory="two thirds" if scarce else "room",
        period_s=period_s,
        stock_p50_ms=stock_ms,
        andes_p50_ms=andes_ms,
        added_p50_ms=float(np.median(added_ms)),
        added_p99_ms=float(np.quantile(added_ms, 0.99)),
        vllm_p50_ms=1e3 * float(np.median(of[:, 1, 1])),
        stock_running=stock_running,
        andes_running=andes_running,
        step_ms=1e3 * float(np.median(of[:, 1, 2])),
    )


def measure_in_turns(lives: Sequence[int], steps: int, repeats: int) -> list[Overhead]:
    """All populations, one after the other, so many times; prints each as it goes."""
    cases = [*product((False, True), PERIODS_S, lives)]
    found: list[list[Overhead]] = [[] for _ in cases]
    for repeat in range(repeats):
        for (scarce, period_s, live), of_case in zip(cases, found, strict=True):
            of_case.append(measure(live, scarce, steps, period_s))
            print(f"{repeat + 1}/{repeats}  {table([quietest(of_case)]).splitlines()[-1]}", flush=True)
    return [quietest(of_case) for of_case in found]


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", nargs="+", type=int, default=[50, 200, 500], help="live requests")
    parser.add_argument("--steps", type=int, default=300, help="steps timed of each scheduler")
    parser.add_argument("--repeats", type=int, default=3, help="of the whole, in turns")
    parser.add_argument("--page", type=Path, help="Markdown file for the table, such as benchmarks/OVERHEAD.md")
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/overhead.json"))
    asked = parser.parse_args(given)
    if min(asked.steps, asked.repeats) < 1:
        parser.error(f"need steps >= 1 and repeats >= 1, got {asked.steps} and {asked.repeats}")
    with pinned({max(os.sched_getaffinity(0))}):
        results = measure_in_turns(asked.live, asked.steps, asked.repeats)
    made = made_by(f"python -m benchmarks.overhead --steps {asked.steps} --repeats {asked.repeats}")
    entries = [{**asdict(r), "share": r.share} for r in results]
    write_data(asked.data, {**made, "results": entries})
    print(table(results))
    if asked.page is not None:
        asked.page.write_text(page_of(results, made), encoding="utf-8")


if __name__ == "__main__":
    main()
