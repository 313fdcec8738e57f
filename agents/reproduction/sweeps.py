"""QoE against burst intensity and duration, and an hour like BurstGPT's, for each model and dataset of the paper's suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from agents.evaluate import Outcome
from agents.reproduction.section import Claim, Section, held
from agents.reproduction.statement import value_cell
from andes_engine.metrics import metric, summarize
from andes_engine.records import RunRecord
from andes_engine.report.grid import Cell, Column, Grid, metric_label
from andes_engine.report.html import ReportFigure
from andes_engine.report.load_panels import qoe_load_panels

DEFAULT_H, DEFAULT_W = 2.0, 0.35
AXES = {"h": "intensity of the burst h, peak rate over mean rate", "w": "share of time at the peak w"}

HOUR_KEYS = ("qoe_mean", "qoe_share_95", "ttft_mean_s", "tds_mean", "peak_queue")
HOUR_PUBLISHED = {
    "qoe_mean": ("mean QoE", ".88 to .99"),
    "qoe_share_95": ("share of QoE >= .95", "75 % to 97 %"),
    "ttft_mean_s": ("mean TTFT", "10.5 to 1.8 s"),
    "tds_mean": ("mean token delivery speed", "11.2 to 10.9 tokens/s"),
    "peak_queue": ("peak queue", "85 % shorter"),
}
"""Phi-3.5-MoE, multi-round ShareGPT, an hour of BurstGPT (Andes v2)."""
HOUR_SCHEDULERS = ("fcfs", "andes", "tuned_andes")
HOUR_SETTING = "phi_3_5_moe, burstgpt hour, sharegpt_multi_round"

ByPoint = Mapping[str, Mapping[float, Sequence[RunRecord]]]


def sweep_section(outcomes: Sequence[Outcome]) -> Section:
    """Both sweeps as panels, and in words how often Andes is ahead."""
    figures, text = [], []
    for axis, label in AXES.items():
        panels = _panels(outcomes, axis)
        if not panels:
            continue
        caption = "Mean QoE at load 1.0; median over workloads, the band is their range."
        figures.append(ReportFigure(qoe_load_panels(panels, label), f"QoE against {label.partition(' ')[0]}", caption))
        text.append(_ahead(panels, label))
    return Section("QoE against burst intensity and duration", tuple(text), (), tuple(figures))


def hour_section(outcomes: Sequence[Outcome]) -> Section:
    """The hour on every engine with every kind of lengths, and the published numbers of one of them beside ours."""
    runs: dict[str, dict[str, RunRecord]] = defaultdict(dict)
    for outcome in outcomes:
        if ", burstgpt hour, " in outcome.setting:
            runs[outcome.setting][outcome.record.scheduler] = outcome.record
    columns = [Column("setting", numeric=False), Column("scheduler", numeric=False)]
    columns += [Column(metric_label(metric(key))) for key in HOUR_KEYS]
    rows = []
    for setting, by_name in runs.items():
        shown = {name: record for name, record in by_name.items() if name in HOUR_SCHEDULERS}
        for place, (name, record) in enumerate(shown.items()):
            numbers, said = summarize(record), "" if place else setting.replace(", burstgpt hour", "")
            cells = [value_cell(np.array([numbers[key]]), metric(key).digits) for key in HOUR_KEYS]
            rows.append((Cell(said), Cell(name), *cells))
    notes = (
        "One workload each, at .9 of what FCFS saturates at: gamma arrivals (shape .25) with the paper's lengths.",
    )
    grid = Grid("An hour like BurstGPT's", tuple(columns), tuple(rows), notes)
    claims = _hour_claims(runs[HOUR_SETTING]) if HOUR_SETTING in runs else ()
    return Section("An hour like BurstGPT's", (), (grid,), (), claims)


def _hour_claims(by_name: Mapping[str, RunRecord]) -> tuple[Claim, ...]:
    fcfs, andes = summarize(by_name["fcfs"]), summarize(by_name["andes"])
    claims = []
    for key, (what, published) in HOUR_PUBLISHED.items():
        before, after, digits = fcfs[key], andes[key], metric(key).digits
        better = after > before if metric(key).higher_is_better else after < before
        ours = f"{before:.{digits}f} to {after:.{digits}f}"
        if key == "tds_mean":
            good, why = (
                after > 0.9 * before,
                "speed within a tenth of FCFS" if after > 0.9 * before else "more is lost here",
            )
        else:
            good, why = (
                better,
                "same direction; another model, GPU and trace, so another size" if better else "not here",
            )
        claims.append(Claim(f"BurstGPT-like hour: {what}", "v2", published, ours, held(good, good), why))
    return tuple(claims)


def burst_ratios(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Mean QoE of Andes over FCFS on the same workload, by setting, in every burst of the suite."""
    by_place: dict[tuple[str, int], dict[str, RunRecord]] = defaultdict(dict)
    for outcome in outcomes:
        if ", burst, " in outcome.setting:
            by_place[outcome.setting, outcome.seed][outcome.record.scheduler] = outcome.record
    ratios: dict[str, list[float]] = defaultdict(list)
    for (setting, _), by_name in by_place.items():
        ratios[setting].append(float(by_name["andes"].qoe.mean() / by_name["fcfs"].qoe.mean()))
    return ratios


def _panels(outcomes: Sequence[Outcome], axis: str) -> ByPoint:
    """Records by panel and by the value of `axis`; the default of the other axis belongs to both sweeps."""
    panels: dict[str, dict[float, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        parts = outcome.setting.split(", ")
        if len(parts) != 4 or parts[1] != "burst":
            continue
        name, value = parts[3].split(" ")
        if name == axis:
            panels[f"{parts[0]}, {parts[2]}"][float(value)].append(outcome.record)
        elif axis == "w" and float(value) == DEFAULT_H:
            panels[f"{parts[0]}, {parts[2]}"][DEFAULT_W].append(outcome.record)
    lengths = list(dict.fromkeys(name.split(", ")[1] for name in panels))
    return dict(sorted(panels.items(), key=lambda entry: lengths.index(entry[0].split(", ")[1])))


def _ahead(panels: ByPoint, label: str) -> str:
    gains = [
        float(np.median([run.qoe.mean() for run in runs if run.scheduler == "andes"]))
        - float(np.median([run.qoe.mean() for run in runs if run.scheduler == "fcfs"]))
        for by_value in panels.values()
        for runs in by_value.values()
    ]
    ahead = sum(gain > 0.0 for gain in gains)
    return (
        f"Against the {label.partition(',')[0]}: Andes is ahead of FCFS at {ahead} of {len(gains)} points, by "
        f"{np.median(gains):+.3f} mean QoE in the median, {min(gains):+.3f} to {max(gains):+.3f}."
    )
