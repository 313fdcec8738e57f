"""Load on a live server, measured at the client: from configuration to table, records and report."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from agents.build import drops_long, workload_at_rate
from agents.config import WorkloadSettings
from agents.evaluate import Outcome, run_entries
from agents.run_dir import RunDir, plain
from agents.schema import check_positive
from andes_engine.client.open_loop import OpenLoop, Sent, open_session
from andes_engine.client.outcome import client_record
from andes_engine.client.server import Target, find_target, server_preemptions
from andes_engine.records import RunRecord
from andes_engine.report.figures import ttft_distribution
from andes_engine.report.grid import Grid
from andes_engine.report.html import ReportFigure, write_report
from andes_engine.report.provenance import provenance
from andes_engine.report.tables import compare as summaries
from andes_engine.report.tables import comparison_grid
from andes_engine.report.timelines import token_timelines
from andes_engine.workload import Workload

REQUESTS = "requests.jsonl"


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """`conf/load.yaml`.

    Args:
        seed: Of the workload and of the prompts.
        run_dir: Where everything goes.
        url: Of the server.
        workload: What is asked of it.
        name: What tables call the server's scheduler.
        model: Which of its models; the first by default.
        rate: Mean arrival rate, requests/s; a trace keeps its own unless it is rescaled.
        timeout_s: A request that is not complete so long after it went out has failed, s.
        trace: Recorded trace to replay.

    Raises:
        ConfigError: If a number is not positive.
    """

    seed: int
    run_dir: str
    url: str
    workload: WorkloadSettings
    name: str = "server"
    model: str | None = None
    rate: float = 1.0
    timeout_s: float = 600.0
    trace: str | None = None

    def __post_init__(self) -> None:
        check_positive(self, "rate", "timeout_s")


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load leaves: the record, its table, the findings in words, and its directory."""

    record: RunRecord
    grid: Grid
    sentences: list[str]
    run_dir: Path


def load(config: LoadConfig) -> LoadResult:
    """Replay the workload against the server and write what came out; interrupted (Ctrl-C), what came until then.

    Raises:
        AndesError: If the configuration cannot work or no server answers; nothing was sent then.
    """
    workload = workload_at_rate(config.workload, config.seed, config.rate)
    allow_many_connections()
    run, record, sent, dropped = asyncio.run(_replay(config, workload))
    title = f"{record.workload.name} on {record.engine}, measured at the client"
    grid = comparison_grid(summaries({"": [record]}), title)
    found = sentences(record, sent, dropped)
    run.write_results({"runs": run_entries([Outcome("as sent", record)])})
    _write_requests(run.path / REQUESTS, record, sent)
    write_report(
        run.path / "report.html",
        f"{record.scheduler} under load",
        found,
        [grid],
        _figures(record),
        provenance([record], plain(config)),
    )
    return LoadResult(record, grid, found, run.path)


def sentences(record: RunRecord, sent: Mapping[int, Sent], dropped: int = 0) -> list[str]:
    """What the load says, in words."""
    notes, asked = record.notes, record.workload
    failed = {key.removeprefix("failed_"): count for key, count in notes.items() if key.startswith("failed_")}
    said = [
        f"{len(asked)} requests at {asked.rate:.3g} requests/s, {int(notes['most_in_flight'])} at once at most; they went out "
        f"{1e3 * notes['send_lag_p50_s']:.1f} ms late in the median, {1e3 * notes['send_lag_max_s']:.1f} ms at most.",
        f"{int(notes['failed'])} failed" + "".join(f", {count:.0f} {kind}" for kind, count in failed.items()) + ".",
    ]
    said += [f"Request {row} {entry.failure}: {entry.detail}" for row, entry in _one_of_each_failure(sent).items()]
    if notes["aborted"]:
        said.append(f"{notes['aborted']:.0f} readers left before the end.")
    if dropped:
        said.append(f"{dropped} requests were longer than the server takes and were not sent.")
    return said


async def _replay(config: LoadConfig, workload: Workload) -> tuple[RunDir, RunRecord, Mapping[int, Sent], int]:
    async with open_session() as session:
        target = await find_target(session, config.url, config.model)
        workload, dropped = _fitted(workload, target, drops_long(config.workload))
        run = RunDir.create(config.run_dir, plain(config), config.seed)
        before = await server_preemptions(session, target.url)
        with tqdm(total=len(workload), desc=f"load on {target.url}", unit="request", disable=None) as bar:
            loop = OpenLoop(session, target, workload, config.seed, config.timeout_s, lambda state: _show(bar, state))
            try:
                duration_s = await loop.run()
            except asyncio.CancelledError:  # Ctrl-C: the result is what went out so far
                if not loop.sent:
                    raise
                _uncancel()
                duration_s, workload = loop.now_s, workload.head(len(loop.sent))
        after = await server_preemptions(session, target.url)
    record = client_record(
        workload,
        loop.sent,
        f"{target.model} at {target.url}",
        config.name,
        duration_s,
        most_in_flight=float(loop.most_in_flight),
        server_preemptions=None if before is None or after is None else after - before,
    )
    return run, record, loop.sent, dropped


def _uncancel() -> None:
    """Go on after a cancellation that was dealt with."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


def _show(bar: tqdm, state: OpenLoop) -> None:
    bar.set_postfix({"in flight": state.in_flight}, refresh=False)
    bar.update(len(state.sent) - state.in_flight - bar.n)


def _fitted(workload: Workload, target: Target, drop: bool) -> tuple[Workload, int]:
    longest_tokens = target.max_model_len_tokens
    if longest_tokens is None:
        return workload, 0
    if drop:
        return workload.up_to(longest_tokens)
    workload.check_up_to(longest_tokens, target.url, "serve with a larger --max-model-len")
    return workload, 0


def allow_many_connections() -> None:
    """As many open sockets as the system lets this process have; the usual limit of 1024 is soon reached in overload."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _one_of_each_failure(sent: Mapping[int, Sent]) -> dict[int, Sent]:
    """The first failure of each kind that says something, by row."""
    first = {entry.failure: row for row, entry in sorted(sent.items(), reverse=True) if entry.detail}
    return {row: sent[row] for row in sorted(first.values())}


def _figures(record: RunRecord) -> list[ReportFigure]:
    answered = [row for row, times in enumerate(record.token_s) if len(times)]
    if not answered:
        return []
    by_qoe = sorted(answered, key=lambda row: float(record.qoe[row]))
    shown = list(dict.fromkeys(by_qoe[round(share * (len(by_qoe) - 1))] for share in (0.05, 0.5, 0.95)))
    caption = "Requests with QoE near the 5th percentile, the median and the 95th, of those that got a token."
    return [
        ReportFigure(ttft_distribution([record]), "Time to first token", "At the client; further left is sooner."),
        ReportFigure(token_timelines([record], shown), "Token timelines at the client", caption),
    ]


def _write_requests(path: Path, record: RunRecord, sent: Mapping[int, Sent]) -> None:
    """One line of JSON for each request: what was asked, when it went out, what came of it, when each token arrived."""
    asked = record.workload
    columns = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s", "abort_s", "user")
    with path.open("w", encoding="utf-8") as lines:
        for row in range(len(asked)):
            line = {"request": row, **{name: getattr(asked, name)[row] for name in columns}}
            line |= {"sent_s": sent[row].sent_s, "failure": sent[row].failure, "detail": sent[row].detail}
            line |= {"qoe": record.qoe[row], "qoe_lower": record.qoe_lower[row], "token_s": record.token_s[row]}
            lines.write(json.dumps(plain(line), allow_nan=False) + "\n")
