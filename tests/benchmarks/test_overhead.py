"""What the scheduler costs inside vLLM: the command measures both schedulers, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.overhead import Overhead, main, table
from tests.live.stubs import INSTALLED


def test_the_share_is_of_the_devices_step() -> None:
    row = Overhead(500, "room", 0.1, 1.0, 1.4, 0.3, 0.9, 0.32, 480.0, 490.0, step_ms=30.0)
    assert row.share == pytest.approx(0.01)
    assert "| every 0.1 s | 1.00 | 1.40 | 480 / 490 | +0.30 | +0.90 | +0.32 | 30.0 | +1.0% |" in table([row])


@pytest.mark.live
@INSTALLED
def test_both_schedulers_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--live", "12", "--steps", "4", "--data", str(tmp_path / "overhead.json")])
    results = json.loads((tmp_path / "overhead.json").read_text())["results"]
    kinds = [(entry["live"], entry["memory"], entry["period_s"]) for entry in results]
    assert kinds == [(12, memory, period_s) for memory in ("room", "two thirds") for period_s in (0.0, 0.1)]
    assert all(0.0 < entry["added_p50_ms"] < entry["andes_p50_ms"] for entry in results)
    assert capsys.readouterr().out.count("| 12 |") == 8  # as it goes, and all at the end
