"""What the scheduler costs inside vLLM: `python -m benchmarks.overhead [--live 50 200 500] [--steps 300]`.

vLLM's own scheduler and ours, on vLLM's own data structures and in turns, step by step, in one process; the device is the
virtual clock's. What is timed is `schedule` and `update_from_output`, in processor time of the thread, so that what else the
machine does is not counted, and of ours also what of it is vLLM's own. Populations are those of `benchmarks.scenes`: closed
loops of so many live requests, with room for all of them, or memory for about two thirds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from benchmarks.scenes import Scene, record

BLOCK_TOKENS = 16
ROOMY_BLOCKS = 28_250
SCARCE_BLOCKS_PER_REQUEST = 18
SHARE_GOAL, ADDED_GOAL_MS = 0.03, 0.3
PERIODS_S = (0.0, 0.1)
"""Time between plans: of the paper (every step), and of conf/scheduler/tuned_andes.yaml."""

PAGE_NOTE = (
    "Processor time per step in the schedulers, on vLLM's own data structures, a step each in turns; the step is that of an H100 "
    "with an 8B model. Prefix caching is on, vLLM's default. Room: memory for all; two thirds: memory for so many of them. *Ours "
    "added* is what our code takes around vLLM's own methods, which run in both. Under contention Andes has more requests "
    "running than vLLM's order has, and each costs vLLM its time: that is the rest of the difference between the two totals. "
    "The machine is shared and its speed drifts by half from hour to hour; vLLM's own time in the same row tells how fast it was."
)


@dataclass(frozen=True, slots=True)
class Overhead:
    """One population under both schedulers; times in ms of processor time per step, `step_ms` of the emulated H100's."""

    live: int
    memory: str
    period_s: float
    stock_p50_ms: float
    andes_p50_ms: float
    added_p50_ms: float
    added_p99_ms: float
    added_mean_ms: float
    stock_running: float
    andes_running: float
    step_ms: float

    @property
    def share(self) -> float:
        """What is added, of the device's step: medians."""
        return self.added_p50_ms / self.step_ms


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
        added_mean_ms=float(added_ms.mean()),
        stock_running=stock_running,
        andes_running=andes_running,
        step_ms=1e3 * float(np.median(of[:, 1, 2])),
    )


COLUMNS = (
    "vLLM alone p50, ms",
    "with ours p50, ms",
    "running, alone / with ours",
    "ours added p50, ms",
    "p99, ms",
    "mean, ms",
    "H100 step, ms",
    "added / step",
)
HEADER = f"| live | KV cache | planned | {' | '.join(COLUMNS)} |"


def table(results: Sequence[Overhead]) -> str:
    """Markdown."""
    rows = [
        f"| {r.live} | {r.memory} | {rhythm(r)} | {r.stock_p50_ms:.2f} | {r.andes_p50_ms:.2f} | "
        f"{r.stock_running:.0f} / {r.andes_running:.0f} | {r.added_p50_ms:+.2f} | {r.added_p99_ms:+.2f} | "
        f"{r.added_mean_ms:+.2f} | {r.step_ms:.1f} | {r.share:+.1%} |"
        for r in results
    ]
    return "\n".join([HEADER, "| ---: | --- | --- |" + " ---: |" * len(COLUMNS), *rows])


def rhythm(result: Overhead) -> str:
    """How often a plan is made, in words."""
    return "every step" if result.period_s == 0.0 else f"every {result.period_s:g} s"


def page_of(results: Sequence[Overhead], made: dict[str, Any]) -> str:
    """The table as a file of its own."""
    written = f"Written by `{made['command']} --page benchmarks/OVERHEAD.md` at commit `{made['commit']}`."
    shares = "; ".join(
        f"{r.added_p50_ms:+.2f} ms ({r.share:.1%}) with {r.memory}, planned {rhythm(r)}"
        for r in results
        if r.live == 500
    )
    goal = (
        f"Goal at 500 live requests: less than {ADDED_GOAL_MS} ms, and {SHARE_GOAL:.0%} of the step. Found: {shares}."
    )
    parts = [
        "# What the scheduler costs inside vLLM",
        f"{written} {PAGE_NOTE}",
        *([goal] if shares else []),
        table(results),
    ]
    return "\n\n".join(parts) + "\n"


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", nargs="+", type=int, default=[50, 200, 500], help="live requests")
    parser.add_argument("--steps", type=int, default=300, help="steps timed of each scheduler")
    parser.add_argument("--page", type=Path, help="Markdown file for the table, such as benchmarks/OVERHEAD.md")
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/overhead.json"))
    asked = parser.parse_args(given)
    results = []
    with pinned({max(os.sched_getaffinity(0))}):
        for scarce, period_s, live in product((False, True), PERIODS_S, asked.live):
            results.append(measure(live, scarce, asked.steps, period_s))
            print(table(results[-1:]).splitlines()[-1], flush=True)
    made = made_by(f"python -m benchmarks.overhead --steps {asked.steps}")
    entries = [{**asdict(r), "share": r.share} for r in results]
    write_data(asked.data, {**made, "results": entries})
    print(table(results))
    if asked.page is not None:
        asked.page.write_text(page_of(results, made), encoding="utf-8")


if __name__ == "__main__":
    main()
