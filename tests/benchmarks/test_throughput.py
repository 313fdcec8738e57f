"""Throughput without contention: the share that is lost, and the command on live engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.throughput import main, summary
from tests.live.stubs import INSTALLED


def test_the_share_is_paired_and_a_slow_spell_of_the_machine_does_not_count() -> None:
    speed = np.linspace(500.0, 1500.0, 21)  # of the machine, pair by pair
    result = summary(np.column_stack([speed, 0.98 * speed]))
    assert (result["stock_tokens_per_s"], result["andes_tokens_per_s"]) == pytest.approx((1000.0, 980.0))
    assert [result["lost"], *result["interval"]] == pytest.approx([0.02] * 3)


@pytest.mark.slow
@pytest.mark.live
@INSTALLED
def test_the_command_runs_both_schedulers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, page = tmp_path / "throughput.json", tmp_path / "page.md"
    main(["--pairs", "2", "--data", str(data), "--page", str(page)])
    rates = np.array(json.loads(data.read_text())["tokens_per_s"])
    assert rates.shape == (2, 2) and (rates > 0.0).all()
    said = capsys.readouterr().out.strip()
    assert "2 pairs" in said and said in page.read_text()
