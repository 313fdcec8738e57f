"""What `overhead` has measured, as a table and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

SHARE_GOAL, ADDED_GOAL_MS = 0.03, 0.3

PAGE_NOTE = (
    "Processor time per step in the schedulers, on vLLM's own data structures, a step each in turns; the step is that of an H100 "
    "with an 8B model. Prefix caching is on, vLLM's default. Room: memory for all; two thirds: memory for so many of them. *Ours "
    "added* is what our code takes around vLLM's own methods, which run in both. Under contention Andes has more requests "
    "running than vLLM's order has, and each costs vLLM its time: that is the rest of the difference between the two totals. "
    "The machine is shared and its speed drifts, by half and more: a row is the repeat in which vLLM's own methods were fastest, "
    "chosen without regard to what was added, and *repeats* is the range of that over all of them. Beside vLLM's own time, which "
    "drifts alike, what is added is about the same at any speed."
)


@dataclass(frozen=True, slots=True)
class Overhead:
    """One population under both schedulers; times in ms of processor time per step, `step_ms` of the emulated H100's.

    `vllm_p50_ms` is of vLLM's own methods under ours.
    """

    live: int
    memory: str
    period_s: float
    stock_p50_ms: float
    andes_p50_ms: float
    added_p50_ms: float
    added_p99_ms: float
    vllm_p50_ms: float
    stock_running: float
    andes_running: float
    step_ms: float
    added_range_ms: tuple[float, float] = (0.0, 0.0)
    """Least and most of the medians of all repeats."""

    @property
    def share(self) -> float:
        """What is added, of the device's step: medians."""
        return self.added_p50_ms / self.step_ms

    @property
    def of_vllms(self) -> float:
        """What is added, of vLLM's own time: medians."""
        return self.added_p50_ms / self.vllm_p50_ms


def quietest(repeats: Sequence[Overhead]) -> Overhead:
    """The repeat in which vLLM's own methods took least, with the range of all."""
    added_ms = [repeat.added_p50_ms for repeat in repeats]
    return replace(min(repeats, key=lambda repeat: repeat.vllm_p50_ms), added_range_ms=(min(added_ms), max(added_ms)))


COLUMNS = (
    "vLLM alone p50, ms",
    "with ours p50, ms",
    "running, alone / with ours",
    "ours added p50, ms",
    "p99, ms",
    "repeats, ms",
    "added / vLLM's own",
    "H100 step, ms",
    "added / step",
)
HEADER = f"| live | KV cache | planned | {' | '.join(COLUMNS)} |"


def table(results: Sequence[Overhead]) -> str:
    """Markdown."""
    rows = [
        f"| {r.live} | {r.memory} | {rhythm(r)} | {r.stock_p50_ms:.2f} | {r.andes_p50_ms:.2f} | "
        f"{r.stock_running:.0f} / {r.andes_running:.0f} | {r.added_p50_ms:+.2f} | {r.added_p99_ms:+.2f} | "
        f"{r.added_range_ms[0]:+.2f} to {r.added_range_ms[1]:+.2f} | {r.of_vllms:+.1%} | {r.step_ms:.1f} | {r.share:+.1%} |"
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
