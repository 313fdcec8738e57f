"""What the scheduler costs inside vLLM: the command measures both schedulers, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.overhead import main
from benchmarks.overhead_page import Overhead, quietest, table
from tests.live.stubs import INSTALLED


def _measured(added_ms: float, vllm_ms: float) -> Overhead:
    return Overhead(500, "room", 0.1, 1.0, 1.4, added_ms, 0.9, vllm_ms, 480.0, 490.0, step_ms=30.0)


def test_a_row_is_the_repeat_in_which_vllm_was_fastest_whatever_was_added() -> None:
    row = quietest([_measured(added_ms=0.4, vllm_ms=2.0), _measured(added_ms=0.3, vllm_ms=1.5), _measured(0.2, 1.6)])
    assert (row.share, row.of_vllms) == (pytest.approx(0.01), pytest.approx(0.2))
    written = "| every 0.1 s | 1.00 | 1.40 | 480 / 490 | +0.30 | +0.90 | +0.20 to +0.40 | +20.0% | 30.0 | +1.0% |"
    assert written in table([row])


@pytest.mark.live
@INSTALLED
def test_both_schedulers_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--live", "12", "--steps", "4", "--repeats", "2", "--data", str(tmp_path / "overhead.json")])
    results = json.loads((tmp_path / "overhead.json").read_text())["results"]
    kinds = [(entry["live"], entry["memory"], entry["period_s"]) for entry in results]
    assert kinds == [(12, memory, period_s) for memory in ("room", "two thirds") for period_s in (0.0, 0.1)]
    assert all(0.0 < entry["added_p50_ms"] < entry["andes_p50_ms"] for entry in results)
    assert all(entry["added_range_ms"][0] <= entry["added_p50_ms"] <= entry["added_range_ms"][1] for entry in results)
    assert capsys.readouterr().out.count("| 12 |") == 12  # each repeat as it goes, and all at the end
