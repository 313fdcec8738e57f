"""The reproduction from the command line: every part of it, small; resumed; and the README's table of claims."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import update_readme
from tests.scripts.readme_block import updated
from tests.scripts.stopping import ROOT, stopped


def reproduce(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.reproduce", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_a_small_reproduction_writes_everything_and_goes_on_where_it_was(tmp_path: Path) -> None:
    small = ["size=smoke", "statements=[light,greedy]", f"run_dir={tmp_path / 'run'}", f"out={tmp_path / 'out'}"]
    done = reproduce(*small)
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "out" / "REPRODUCTION.md").read_text()
    assert "## Claims" in page and "| mean QoE over vLLM's FCFS at equal GPUs |" in page and "## GPUs saved" in page
    pictures = [line.partition("](")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(pictures) >= 3 and all((tmp_path / "out" / picture).is_file() for picture in pictures)
    assert (tmp_path / "run" / "report.html").read_text().count("<svg") == len(pictures)
    rows = (tmp_path / "run" / "rows.jsonl").read_text().splitlines()
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["claims"]) >= 4

    again = reproduce(*small)
    assert f"{len(rows)} of {len(rows)} runs are in" in again.stdout
    refused = reproduce(*small, "+compare.contenders.andes.knobs.horizon_s=20.0")
    assert refused.returncode == 2 and "give another run_dir" in refused.stderr


@pytest.mark.slow
def test_an_interrupted_reproduction_says_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, said = stopped(["scripts.reproduce", "size=smoke"], run, signal.SIGINT, 1)
    assert code == 130
    assert f"interrupted; finished runs are kept, start again with run_dir={run}" in said and "Traceback" not in said


def test_the_readme_has_the_claims_of_the_committed_reproduction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split(update_readme.CLAIMS_BEGIN)[1]
    told = rows_of_claims((ROOT / "REPRODUCTION.md").read_text(encoding="utf-8"))
    claims = rows_of_claims(block.split(update_readme.CLAIMS_END)[0])
    assert len(claims) > 10
    assert claims == [row[: len(claim)] for claim, row in zip(claims, told, strict=True)]
    claim = {"what": "w", "source": "s", "published": "p", "ours": "up to 5", "holds": "yes"}
    markers = update_readme.CLAIMS_BEGIN, update_readme.CLAIMS_END
    found = {"commit": "c", "claims": [claim]}
    assert "| w | s | p | up to 5 | yes |" in updated(tmp_path, monkeypatch, found, markers, "reproduction")


def rows_of_claims(page: str) -> list[str]:
    lines = page.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| claim |")) + 2
    return lines[start : lines.index("", start)]
