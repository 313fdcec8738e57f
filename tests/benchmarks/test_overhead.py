"""What the scheduler costs inside vLLM: the command measures both schedulers, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.overhead import Overhead, main, table
from tests.live.stubs import NEEDS_VLLM


def test_the_share_is_of_the_devices_step() -> None:
    row = Overhead(500, "room", 1.0, 1.3, 2.0, 2.5, step_ms=30.0)
    assert row.added_ms == pytest.approx(0.3) and row.share == pytest.approx(0.01)
    assert "| +0.30 | 30.0 | +1.0% |" in table([row])


@pytest.mark.live
@NEEDS_VLLM[1]
def test_both_schedulers_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--live", "12", "--steps", "4", "--data", str(tmp_path / "overhead.json")])
    results = json.loads((tmp_path / "overhead.json").read_text())["results"]
    assert [(entry["live"], entry["memory"]) for entry in results] == [(12, "room"), (12, "two thirds")]
    assert all(entry["stock_p50_ms"] > 0.0 and entry["andes_p50_ms"] > 0.0 for entry in results)
    assert capsys.readouterr().out.count("| 12 |") == 4  # as it goes, and all at the end
