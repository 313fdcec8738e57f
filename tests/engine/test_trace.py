"""Trace files: what is read, and how each thing that can be wrong is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from andes_engine.errors import TraceFormatError
from andes_engine.workload.trace import load_trace, read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
ROW = "2023-11-16 18:15:46.6805900,374,44"
NEXT = "2023-11-16 18:15:50.9951690,396,109"


def written(path: Path, *lines: str, end: str = "\n") -> Path:
    file = path / "trace.csv"
    file.write_bytes((end.join(lines) + end).encode())
    return file


def test_an_azure_trace(tmp_path: Path) -> None:
    workload = load_trace(written(tmp_path, HEADER, ROW, NEXT), readers=0.25, ttft="prompt")
    assert workload.name == "trace"
    assert workload.arrival_s == pytest.approx([0.0, 4.314579], abs=2e-6)
    assert workload.prompt_tokens.tolist() == [374, 396]
    assert workload.output_tokens.tolist() == [44, 109]
    assert workload.latency_s.tolist() == [0.25, 0.25]
    assert workload.ttft_s.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, end: str, bom: str) -> None:
    lines = [bom + HEADER, ROW, "", NEXT]
    assert len(load_trace(written(tmp_path, *lines, end=end))) == 2


def test_columns_may_be_in_any_order_with_others_beside(tmp_path: Path) -> None:
    lines = ["GeneratedTokens,Extra,TIMESTAMP,ContextTokens", "44,x,2024-05-10 00:00:00.009930+00:00,374"]
    workload = load_trace(written(tmp_path, *lines))
    assert (workload.prompt_tokens[0], workload.output_tokens[0]) == (374, 44)


def test_readers_come_from_the_seed_alone(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, *[ROW] * 200)
    assert load_trace(path, seed=1) == load_trace(path, seed=1)
    assert load_trace(path, seed=1) != load_trace(path, seed=2)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([""], "the file is empty; the first line must be 'TIMESTAMP,ContextTokens,GeneratedTokens'"),
        ([HEADER], "no requests in the file"),
        (["time,prompt,output", ROW], "line 1: unknown header 'time,prompt,output'"),
        ([ROW, NEXT], "line 1: unknown header"),
        ([HEADER, ROW, "2023-11-16 18:15:50,396"], "line 3: 2 fields, the header has 3"),
        ([HEADER, ROW, NEXT + ",7"], "line 3: 4 fields"),
        ([HEADER, "yesterday,374,44"], "line 2: TIMESTAMP = 'yesterday' is not a time like 2023-"),
        ([HEADER, ",374,44"], "line 2: TIMESTAMP = ''"),
        ([HEADER, ROW, "2023-11-16 18:15:50,-396,44"], "line 3: ContextTokens = '-396' must be a whole number from 1"),
        ([HEADER, "2023-11-16 18:15:50,0,44"], "line 2: ContextTokens = '0'"),
        ([HEADER, "2023-11-16 18:15:50,396,-1"], "line 2: GeneratedTokens = '-1'"),
        ([HEADER, "2023-11-16 18:15:50,nan,44"], "line 2: ContextTokens = 'nan'"),
        ([HEADER, "2023-11-16 18:15:50,396,4.5"], "line 2: GeneratedTokens = '4.5'"),
        ([HEADER, "2023-11-16 18:15:50,396," + "9" * 30], "line 2: GeneratedTokens = '9"),
        ([HEADER, NEXT, "", ROW], "line 4: arrives 4.31458 s before .*sort the file"),
        ([HEADER, ROW, "2023-11-16 18:15:50,396,0", NEXT], r"line 3: .* \(1 in the file\).*skip_zero=True"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(tmp_path: Path, lines: list[str], match: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(TraceFormatError, match=match) as error:
        load_trace(path)
    assert str(path) in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(TraceFormatError, match="no such file"):
            load_trace(path)
    binary = tmp_path / "trace.csv.gz"
    binary.write_bytes(b"\x1f\x8b\x08\x00\xff\xfe\x00")
    with pytest.raises(TraceFormatError, match=r"line 1: not text in UTF-8 .* unpack it if compressed"):
        load_trace(binary)


def test_failed_requests_are_left_out_on_demand_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "2023-11-16 18:15:45,5,0", ROW, "2023-11-16 18:15:47,5,0", NEXT)
    trace = read_trace(path, skip_zero=True)
    assert (len(trace.arrival_s), trace.skipped, trace.arrival_s[0]) == (2, 2, 0.0)
    only_failed = written(tmp_path, HEADER, "2023-11-16 18:15:45,5,0")
    with pytest.raises(TraceFormatError, match="all 1 have no generated tokens"):
        read_trace(only_failed, skip_zero=True)


def test_recorded_traffic(real_trace: Path) -> None:
    workload = load_trace(real_trace)
    assert len(workload) == 9683
    assert workload.fingerprint == "8863df28d17c7e70"  # as before there were other formats
    assert workload.prompt_tokens.mean() == pytest.approx(1237, abs=1)
    assert workload.output_tokens.mean() == pytest.approx(222, abs=1)
    assert workload.duration_s == pytest.approx(1743.4, abs=0.1)
    assert np.isin(workload.latency_s, (0.196, 0.230, 0.240, 0.249, 0.264)).all()
