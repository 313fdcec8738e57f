"""Recorded capacity curves: what is read is what was written, and a damaged file says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.record_file import RecordFileError
from agents.results.kept_curves import Curves, read_curves, write_curves


def curves() -> Curves:
    seeds = {"0": {"loads": [0.2, 1.0359], "qoe": [[1.0, 0.9129], [0.9, 0.1]]}, "1": {"loads": [0.5], "qoe": [[0.25]]}}
    return {"chat": {"andes": {"hash": "a", "seeds": seeds}}, "coding": {"andes": {"hash": "b", "seeds": seeds}}}


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    read = read_curves(write_curves(curves(), tmp_path / "docs" / "capacity.parquet"))
    assert list(read) == ["chat", "coding"] and read["coding"]["andes"]["hash"] == "b"
    assert list(read["chat"]["andes"]["seeds"]) == ["0", "1"]
    for seed, one in curves()["chat"]["andes"]["seeds"].items():
        found = read["chat"]["andes"]["seeds"][seed]
        assert found["loads"] == pytest.approx(one["loads"], abs=1e-9)
        assert [pytest.approx(line, abs=1e-9) for line in one["qoe"]] == found["qoe"]


def test_no_file_has_no_curves_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "nothing.parquet") == {}
    (damaged := tmp_path / "damaged.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(RecordFileError, match="no recorded curves, or damaged"):
        read_curves(damaged)
