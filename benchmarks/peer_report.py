"""What the comparison with other simulators says: runs, one row for each simulator and workload, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

PEER = "dynamo mocker"
NAMES = {PEER: "NVIDIA Dynamo mocker (Rust)", "fcfs": "andes-rl, FCFS", "andes": "andes-rl, Andes"}

DIFFERENCES = """\
Set alike: requests, KV blocks of 16 tokens, 256 sequences, 2048 tokens per iteration with chunked prefill, no prefix caching,
10 ms per iteration, one worker, virtual time. Left over: in the mocker an iteration that holds prompts only takes no time
(its fixed step is charged to decoding), so a request that finds the engine empty gets its first token 10 ms earlier. Andes
schedules differently on purpose: where memory is short, its outcome is not FCFS's; where nothing competes, it has nothing
to plan, and *plans per iteration* says so. Ours accounts for the QoE of each token on top, which cannot be switched off."""


@dataclass(frozen=True, slots=True)
class Run:
    """One timed simulation and its outcome.

    Args:
        setting: Name of the workload.
        simulator: `PEER`, or the scheduler of ours.
        wall_s: Wall time of the simulation alone, s; what speeds are computed from.
        call_s: Wall time of the call, s; the mocker's includes reading the trace.
        cpu_s: Processor time of the call, s; well below `call_s` if something else had the core.
        requests: Requests finished.
        output_tokens: Tokens delivered.
        mean_ttft_s: Mean time to first token, s.
        mean_tpot_s: Mean over requests with two tokens or more of the time per token after the first, s.
        makespan_s: From the first arrival to the last token, s.
        plans_per_iteration: Share of iterations with a plan, of ours.
        version: Of the peer.
    """

    setting: str
    simulator: str
    wall_s: float
    call_s: float
    cpu_s: float
    requests: int
    output_tokens: int
    mean_ttft_s: float
    mean_tpot_s: float
    makespan_s: float
    plans_per_iteration: float | None = None
    version: str | None = None

    @property
    def tokens_per_s(self) -> float:
        """Output tokens simulated per second of wall time."""
        return self.output_tokens / self.wall_s

    def as_dict(self) -> dict[str, Any]:
        """All fields and the speed, for JSON."""
        return {**asdict(self), "tokens_per_s": self.tokens_per_s}


@dataclass(frozen=True, slots=True)
class Row:
    """One simulator on one workload, over its repeated runs.

    Args:
        last: A run of it; the outcome is the same in all of them.
        tokens_per_s: Smallest, median and largest speed, output tokens per wall second.
        requests_per_s: Median, requests per wall second.
        ratio: Median over the repeats of this speed over the peer's in the same turn; 1 for the peer.
    """

    last: Run
    tokens_per_s: tuple[float, float, float]
    requests_per_s: float
    ratio: float


def rows(runs: Sequence[Run]) -> list[Row]:
    """One row for each workload and simulator, in the order they first ran. The peer must be among each workload's runs."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.setting, run.simulator), []).append(run)
    return [_row(group, groups[setting, PEER]) for (setting, _), group in groups.items()]


def _row(group: list[Run], peer: list[Run]) -> Row:
    speeds = [run.tokens_per_s for run in group]
    ratios = [run.tokens_per_s / other.tokens_per_s for run, other in zip(group, peer, strict=True)]
    requests_per_s = median(run.requests / run.wall_s for run in group)
    return Row(group[-1], (min(speeds), median(speeds), max(speeds)), requests_per_s, median(ratios))


def markdown(runs: Sequence[Run]) -> str:
    """Speed and outcome as two tables, and what differs between the simulators."""
    table = rows(runs)
    version = next(run.version for run in runs if run.simulator == PEER)
    repeats = sum(run.simulator == PEER and run.setting == runs[0].setting for run in runs)
    busy = min(run.cpu_s / run.call_s for run in runs)
    said = (
        f"ai-dynamo-runtime {version}; {runs[0].requests:,} requests, {runs[0].output_tokens:,} output tokens; "
        f"median of {repeats} runs in turns (least to most) on one core, which was theirs for at least {busy:.0%} of the time."
    )
    parts = (said, _grid(_SPEED, [_speed(row) for row in table]), _grid(_OUTCOME, [_outcome(row) for row in table]))
    return "\n\n".join((*parts, DIFFERENCES)) + "\n"


_SPEED = ("workload", "simulator", "million output tokens/s of wall time", "requests/s", "times the mocker")
_OUTCOME = ("workload", "simulator", "mean TTFT (s)", "mean TPOT (ms)", "makespan (s)", "plans per iteration")


def _speed(row: Row) -> tuple[str, ...]:
    least, middle, most = (speed / 1e6 for speed in row.tokens_per_s)
    speed = f"{middle:.2f} ({least:.2f} to {most:.2f})"
    return row.last.setting, NAMES[row.last.simulator], speed, f"{row.requests_per_s:,.0f}", f"{row.ratio:.2f}"


def _outcome(row: Row) -> tuple[str, ...]:
    run = row.last
    plans = "" if run.plans_per_iteration is None else f"{run.plans_per_iteration:.2f}"
    times = f"{run.mean_ttft_s:.6f}", f"{1000.0 * run.mean_tpot_s:.4f}", f"{run.makespan_s:.3f}"
    return run.setting, NAMES[run.simulator], *times, plans


def _grid(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * 2 + ["---:"] * (len(header) - 2)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *body))
