"""Mooncake's JSON lines, BurstGPT and lengths without times: what is read, and how each thing that is wrong is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import AndesError, TraceFormatError
from andes_engine.workload.trace import load_trace, read_trace
from andes_engine.workload.trace_lines import MAX_LINE_BYTES, has_times

BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
BURST_V2 = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
CHARS = "prompt_chars,output_tokens,seconds_per_token"


def mooncake(**changed: object) -> str:
    line = {"timestamp": 1000, "input_length": 600, "output_length": 5, "hash_ids": [3, 4], **changed}
    return json.dumps({key: value for key, value in line.items() if value is not None})


def written(path: Path, *lines: str, name: str = "trace.jsonl") -> Path:
    (path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path / name


def test_a_mooncake_trace(tmp_path: Path) -> None:
    lines = [
        mooncake(),
        "",
        mooncake(timestamp=1500.5, hash_ids=[3, 5]),
        mooncake(timestamp=2000, input_length=9, hash_ids=[]),
    ]
    workload = load_trace(written(tmp_path, *lines), readers=0.25)
    assert workload.arrival_s == pytest.approx([0.0, 0.5005, 1.0])
    assert (workload.prompt_tokens.tolist(), workload.output_tokens.tolist()) == ([600, 600, 9], [5, 5, 5])
    assert [workload.block_hashes.of(row).tolist() for row in range(3)] == [[3, 4], [3, 5], []]
    assert load_trace(written(tmp_path, mooncake(hash_ids=[]))).block_hashes is None


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.JSON", "trace", "trace.csv", "trace.txt"])
def test_json_lines_are_known_by_name_or_content(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "\ufeff" + mooncake(), name=name)
    assert has_times(path)
    assert len(load_trace(path)) == 1


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('{"timestamp": 1,', "not JSON .* every line must be like"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", r"\[1, 2\] is no JSON object; every line must be like"),
        ("7", "7 is no JSON object"),
        ("timestamp,input_length", "not JSON"),
        (mooncake(hash_ids=None), r"no hash_ids; .* with \[\] for unknown"),
        (mooncake(timestamp=None, output_length=None), "no timestamp and no output_length"),
        (mooncake(timestamp="1"), 'timestamp = "1" must be a number of milliseconds'),
        (mooncake(timestamp=True), "timestamp = true"),
        (mooncake(timestamp=float("nan")), "timestamp = NaN"),
        (mooncake(timestamp=float("inf")), "timestamp = Infinity"),
        (mooncake(timestamp=10**400), "timestamp = 1000"),
        (mooncake(timestamp=-1), "timestamp = -1 must be a number of milliseconds >= 0"),
        (mooncake(input_length=0), "input_length = 0 must be a whole number from 1"),
        (mooncake(input_length=-4), "input_length = -4"),
        (mooncake(input_length=600.0), "input_length = 600.0"),
        (mooncake(input_length="600"), 'input_length = "600"'),
        (mooncake(input_length=10**9), "input_length = 1000000000 .* to 10,000,000"),
        (mooncake(output_length=-1), "output_length = -1 must be a whole number from 0"),
        (mooncake(output_length=[5]), r"output_length = \[5\]"),
        (mooncake(output_length=False), "output_length = false"),
        (mooncake(output_length=0), r"without generated tokens \(1 in the file\).*skip_zero=True"),
        (
            mooncake(hash_ids=[3]),
            "1 hash_ids for input_length = 600, which has 2 blocks of 512 tokens; give one for each",
        ),
        (mooncake(hash_ids=[3, 4, 5]), "3 hash_ids for input_length = 600"),
        (mooncake(hash_ids=[3, -4]), r"hash_ids = \[3, -4\] must be a list of whole numbers >= 0"),
        (mooncake(hash_ids=[3, 4.5]), "hash_ids = "),
        (mooncake(hash_ids=[3, True]), "hash_ids = "),
        (mooncake(hash_ids=[3, 2**63]), "hash_ids = "),
        (mooncake(hash_ids="34"), 'hash_ids = "34"'),
        (mooncake(timestamp=500), "arrives 0.5 s before the request above; sort the file"),
    ],
)
def test_wrong_json_lines_are_told_by_file_and_line(tmp_path: Path, line: str, match: str) -> None:
    path = written(tmp_path, mooncake(), "", line)
    with pytest.raises(TraceFormatError, match=match) as error:
        load_trace(path)
    assert str(error.value).startswith(f"{path}, line 3: ")


def test_a_burstgpt_trace_and_its_failures(tmp_path: Path) -> None:
    """Failed requests have no response, and often no prompt: both are left out, neither is a damaged row."""
    lines = [BURST, "5,ChatGPT,472,18,490,Conversation log", "45.5,GPT-4,0,0,0,API log", "50,GPT-4,87,0,87,API log"]
    path = written(tmp_path, *lines, "118,GPT-4,417,276,693,Conversation log", name="BurstGPT_1.csv")
    with pytest.raises(TraceFormatError, match=r"line 3: .* \(2 in the file\)"):
        load_trace(path)
    workload = load_trace(path, skip_zero=True)
    assert read_trace(path, skip_zero=True).skipped == 2
    assert (workload.name, workload.arrival_s.tolist()) == ("BurstGPT_1", [0.0, 113.0])
    assert (workload.prompt_tokens.tolist(), workload.output_tokens.tolist()) == ([472, 417], [18, 276])
    second = written(tmp_path, BURST_V2, "5,,1.5,ChatGPT,472,18,490,API log", name="BurstGPT_3.csv")
    assert load_trace(second).prompt_tokens.tolist() == [472]


def test_lengths_without_times(tmp_path: Path) -> None:
    path = written(tmp_path, CHARS, "430,6,0.24", "2,97,0.23", "43,9,0.23", name="lengths.csv")
    trace = read_trace(path)
    assert (trace.arrival_s, trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == (
        None,
        [100, 1, 10],
        [6, 97, 9],
    )
    assert (trace.readers.latency_s, trace.readers.share) == ((0.23, 0.24), (2.0, 1.0))
    assert not has_times(path)
    with pytest.raises(TraceFormatError, match=r"no arrival times, so it cannot be replayed; .* EmpiricalLengths"):
        load_trace(path)
    with pytest.raises(TraceFormatError, match="knows no paces of readers"):
        _ = read_trace(written(tmp_path, mooncake())).readers


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([BURST], ": no requests in the file"),
        ([BURST, "soon,ChatGPT,472,18,490,x"], "line 2: Timestamp = 'soon' is not a time like 45 or 45.5"),
        ([BURST, "nan,ChatGPT,472,18,490,x"], "line 2: Timestamp = 'nan'"),
        ([BURST, "-5,ChatGPT,472,18,490,x"], "line 2: Timestamp = '-5'"),
        ([BURST, "5,ChatGPT,0,18,18,x"], "line 2: Request tokens = '0' must be a whole number from 1"),
        ([BURST, "5,ChatGPT,472,-1,490,x"], "line 2: Response tokens = '-1'"),
        ([BURST, "5,ChatGPT,472,1.5,490,x"], "line 2: Response tokens = '1.5'"),
        ([BURST, "5,ChatGPT,472,18"], "line 2: 4 fields, the header has 6"),
        ([BURST, "5,a,2,1,3,x", "4,a,2,1,3,x"], "line 3: arrives 1 s before"),
        ([BURST, '5,"ChatGPT,472,18,490,x'], "line 2: 2 fields"),
        ([BURST, "5,ChatGPT,472,18,490," + "x" * 140_000], "line 2: cannot be read as CSV .*field larger"),
        (["Timestamp,Model,Tokens"], "line 1: unknown header 'Timestamp,Model,Tokens'; .*'Timestamp,Request tokens"),
        ([CHARS, "0,6,0.24"], "line 2: prompt_chars = '0' must be a whole number from 1"),
        ([CHARS, "180,6,0"], "line 2: seconds_per_token = '0' must be seconds per token > 0"),
        ([CHARS, "180,6,nan"], "line 2: seconds_per_token = 'nan'"),
        ([CHARS, "180,6,fast"], "line 2: seconds_per_token = 'fast'"),
        ([CHARS, "180,0,0.2"], "line 2: a request without generated tokens"),
    ],
)
def test_wrong_csv_is_told_by_file_and_line(tmp_path: Path, lines: list[str], match: str) -> None:
    path = written(tmp_path, *lines, name="trace.csv")
    with pytest.raises(TraceFormatError, match=match) as error:
        load_trace(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("trace.jsonl", b"", "no requests in the file"),
        ("trace.csv", b"", "the file is empty; the first line must be"),
        ("trace.jsonl", b"\n\n", "no requests in the file"),
        ("trace.jsonl", b"\x1f\x8b\x08\x00\xff\xfe\x00", "line 1: not text in UTF-8"),
        ("trace.jsonl", mooncake().encode() + b"\n\xe9\n", "line 2: not text in UTF-8 .*at byte 0.*iconv"),
        ("trace.csv", f"{BURST}\n5,Mod\xe8le,4,1,5,x\n".encode("latin-1"), "line 2: not text in UTF-8"),
        ("trace.csv", BURST.encode("utf-16"), "line 1: not text in UTF-8"),
        ("trace.csv", BURST.encode("utf-16-le"), r"line 1: unknown header 'T\\x00i"),
        ("trace.csv", f"{BURST}\r5,a,4,1,5,x\r".encode(), "line 1: cannot be read as CSV .*lines end with LF"),
        ("trace.jsonl", b" " * (MAX_LINE_BYTES + 1), "line 1: longer than"),
    ],
)
def test_files_that_are_no_text_or_empty(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TraceFormatError, match=match) as error:
        load_trace(path)
    assert str(path) in str(error.value)


@given(
    st.binary(max_size=200), st.sampled_from(["a.csv", "a.jsonl", "a"]), st.sampled_from([b"", BURST.encode() + b"\n"])
)
def test_junk_is_always_a_named_error(tmp_path_factory, junk: bytes, name: str, opening: bytes) -> None:
    path = tmp_path_factory.mktemp("junk", numbered=True) / name
    path.write_bytes(opening + junk)
    with pytest.raises(AndesError) as error:
        load_trace(path)
    assert str(path) in str(error.value)


def test_the_real_mooncake_trace_chains_its_hashes(mooncake_trace: Path) -> None:
    workload = load_trace(mooncake_trace)
    hashes = workload.block_hashes
    assert (len(workload), len(hashes.hash_ids)) == (3993, 121_877)
    assert workload.prompt_tokens.mean() == pytest.approx(15_325, abs=1)
    assert workload.output_tokens.mean() == pytest.approx(149, abs=1)
    assert workload.duration_s == pytest.approx(1022.025)
    before = np.concatenate([[-1], hashes.hash_ids[:-1]])
    before[hashes.hash_offsets[:-1]] = -1
    pairs = np.unique(np.stack([hashes.hash_ids, before]), axis=1)
    assert pairs.shape[1] == len(np.unique(hashes.hash_ids)) == 43_924, "an id must fix everything before it"


def test_the_real_sharegpt_lengths(sharegpt_lengths: Path) -> None:
    trace = read_trace(sharegpt_lengths)
    assert trace.prompt_tokens.mean() == pytest.approx(150, abs=1)
    assert trace.output_tokens.mean() == pytest.approx(331, abs=1)
    assert trace.readers.latency_s == (0.196, 0.23, 0.24, 0.249, 0.264)
