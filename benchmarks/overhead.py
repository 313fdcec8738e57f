"""What the scheduler costs inside vLLM: `python -m benchmarks.overhead [--live 50 200 500] [--steps 300]`.

vLLM's own scheduler and ours, on vLLM's own data structures and in turns, step by step, in one process; the device is the
virtual clock's. What is timed is `schedule` and `update_from_output`, in processor time of the thread, so that what else the
machine does is not counted. Populations are those of `benchmarks.scenes`: closed loops of so many live requests, with room
for all of them, or memory for about two thirds.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np

from andes_engine.contender import Contender
from andes_engine.report.provenance import commit, versions
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import episode_requests, planner_for, simulated_twin
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from benchmarks.lines import pinned
from benchmarks.scenes import Scene, record

BLOCK_TOKENS = 16
ROOMY_BLOCKS = 28_250
SCARCE_BLOCKS_PER_REQUEST = 18
SHARE_GOAL, ADDED_GOAL_MS = 0.03, 0.3
PAGE_NOTE = (
    "Processor time per step of vLLM's own scheduler and of ours, on vLLM's own data structures, a step each in turns; the step "
    "is that of an H100 with an 8B model. Room: memory for all; two thirds: memory for so many of them."
)


@dataclass(frozen=True, slots=True)
class Overhead:
    """One population under both schedulers; times in ms of processor time per step, `step_ms` of the emulated H100's."""

    live: int
    memory: str
    stock_p50_ms: float
    andes_p50_ms: float
    stock_p99_ms: float
    andes_p99_ms: float
    step_ms: float

    @property
    def added_ms(self) -> float:
        """Difference of the medians."""
        return self.andes_p50_ms - self.stock_p50_ms

    @property
    def share(self) -> float:
        """Of the device's step."""
        return self.added_ms / self.step_ms


class TimedEngine:
    """An engine on the virtual clock whose scheduler is timed."""

    def __init__(self, scene: Scene) -> None:
        """Record the scene, replay it until the population is steady."""
        recorded, model = record(scene), preset("h100_llama3_8b")
        config = LiveConfig(
            block_size=BLOCK_TOKENS,
            kv_blocks=scene.kv_blocks + 1,
            max_batched_tokens=2048,
            max_num_seqs=scene.max_num_seqs,
            max_model_len=8192,
            prefix_caching=False,
        )
        planner = planner_for(Contender(scene.name, scene.scheduler, scene.knobs), simulated_twin(config, model))
        self._engine = VirtualEngine(config, model, "stock" if planner is None else "andes", strict=False)
        self._engine.set_planner(planner)
        self._engine.reset(episode_requests(recorded.workload))
        self._engine.advance(recorded.from_s)
        self._spent_s = 0.0
        self.scheduler: Any = self._engine._scheduler
        for name in ("schedule", "update_from_output"):
            setattr(self.scheduler, name, self._timed(getattr(self.scheduler, name)))

    def _timed(self, call: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before_s = thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._spent_s += thread_time() - before_s

        return timed

    def step(self) -> tuple[float, float]:
        """Run one step; what the scheduler took, and the device, s."""
        self._spent_s, before_s = 0.0, self._engine.now_s
        self._engine.advance(float(np.nextafter(before_s, np.inf)))
        return self._spent_s, self._engine.now_s - before_s


def scenes(live: int, scarce: bool, steps: int) -> tuple[Scene, Scene]:
    """The same population under vLLM's own order and under Andes, planned at every step."""
    blocks = SCARCE_BLOCKS_PER_REQUEST * live if scarce else ROOMY_BLOCKS
    shared: dict[str, Any] = {"warm_iterations": 200, "timed_iterations": 2 * steps}
    stock = Scene("stock", live, blocks, **shared)
    return stock, Scene("andes", live, blocks, "andes", {"planning_period_s": 0.0}, **shared)


def measure(live: int, scarce: bool, steps: int) -> Overhead:
    """Both schedulers in turns, a step each."""
    engines = [TimedEngine(scene) for scene in scenes(live, scarce, steps)]
    took = np.array([[engine.step() for engine in engines] for _ in range(steps)])
    (stock_p50, andes_p50), (stock_p99, andes_p99) = np.quantile(1e3 * took[:, :, 0], (0.5, 0.99), axis=0)
    step_ms = 1e3 * float(np.median(took[:, 1, 1]))
    memory = "two thirds" if scarce else "room"
    return Overhead(live, memory, float(stock_p50), float(andes_p50), float(stock_p99), float(andes_p99), step_ms)


COLUMNS = ("vLLM p50, ms", "ours p50, ms", "vLLM p99, ms", "ours p99, ms", "added, ms", "H100 step, ms", "added / step")
HEADER = f"| live | KV cache | {' | '.join(COLUMNS)} |"


def table(results: Sequence[Overhead]) -> str:
    """Markdown."""
    rows = [
        f"| {r.live} | {r.memory} | {r.stock_p50_ms:.2f} | {r.andes_p50_ms:.2f} | {r.stock_p99_ms:.2f} | "
        f"{r.andes_p99_ms:.2f} | {r.added_ms:+.2f} | {r.step_ms:.1f} | {r.share:+.1%} |"
        for r in results
    ]
    return "\n".join([HEADER, "| ---: | --- |" + " ---: |" * len(COLUMNS), *rows])


def page_of(results: Sequence[Overhead], made: dict[str, Any]) -> str:
    """The table as a file of its own."""
    written = f"Written by `{made['command']} --page benchmarks/OVERHEAD.md` at commit `{made['commit']}`."
    shares = ", ".join(f"{r.added_ms:+.2f} ms ({r.share:.1%}) with {r.memory}" for r in results if r.live == 500)
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
        for scarce in (False, True):
            for live in asked.live:
                results.append(measure(live, scarce, asked.steps))
                print(table(results[-1:]).splitlines()[-1], flush=True)
    made = {
        "command": f"python -m benchmarks.overhead --steps {asked.steps}",
        "commit": commit(),
        "versions": versions(),
    }
    entries = [{**asdict(r), "added_ms": r.added_ms, "share": r.share} for r in results]
    asked.data.parent.mkdir(parents=True, exist_ok=True)
    asked.data.write_text(json.dumps({**made, "results": entries}, indent=1) + "\n", encoding="utf-8")
    print(table(results))
    if asked.page is not None:
        asked.page.write_text(page_of(results, made), encoding="utf-8")


if __name__ == "__main__":
    main()
