"""The demo's figures and its HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agents.compare import CompareResult, sentences
from agents.compare_report import file_stem
from agents.run_dir import plain
from agents.train import TrainResult
from andes_engine.records import RunRecord
from andes_engine.report.figures import learning_curve, save, ttft_distribution
from andes_engine.report.grid import Grid
from andes_engine.report.html import ReportFigure, write_report
from andes_engine.report.provenance import provenance
from andes_engine.report.timelines import token_timelines, typical_requests

if TYPE_CHECKING:
    from agents.demo import DemoConfig
    from agents.live import LiveResult


def write_demo_report(
    folder: Path,
    config: DemoConfig,
    trained: TrainResult,
    compared: Sequence[CompareResult],
    live: LiveResult | None,
    grids: Sequence[Grid],
) -> Path:
    """Write figures and page; returns the page."""
    from agents.demo import live_sentences

    said = live_sentences(live) if live else []
    for traffic, result in zip(("bursts", "the trace"), compared, strict=False):
        mine = [entry for entry in result.differences if entry.candidate != "fcfs"]
        said += [f"Simulated, {traffic}: {sentence}" for sentence in sentences(mine, "qoe_mean")]
    figures = [*(live_figures(live) if live else []), *compared[0].figures, _curve(trained)]
    for entry in figures:
        save(entry.figure, folder / "figures" / file_stem(entry.title))
    records = [*live.live, *live.simulated] if live else []
    page = provenance(records, plain(config))
    return write_report(folder / "report.html", "andes-rl demo", said, grids, figures, page)


def live_figures(live: LiveResult) -> list[ReportFigure]:
    """Token timelines and times to first token of the first burst."""
    first = live.live[0].workload.fingerprint
    runs = [run for run in live.live if run.workload.fingerprint == first]
    by_name: dict[str, RunRecord] = {run.scheduler: run for run in runs}
    chosen = typical_requests(by_name["andes"], by_name["fcfs"])
    return [
        ReportFigure(
            token_timelines(runs, chosen),
            "Token timelines in live vLLM",
            "What the reader expected, what was delivered, and what was read, for a request that lost, one in the middle and one "
            "that gained.",
        ),
        ReportFigure(ttft_distribution(runs), "TTFT in live vLLM", "One burst; further left is sooner."),
    ]


def _curve(trained: TrainResult) -> ReportFigure:
    results = json.loads((trained.run_dir / "results.json").read_text(encoding="utf-8"))
    steps, qoe = ([point[key] for point in results["curve"]] for key in ("steps", "qoe"))
    figure = learning_curve(steps, qoe, trained.references)
    return ReportFigure(
        figure, "Learning curve", "Mean QoE on the validation workloads, which no result is taken from."
    )
