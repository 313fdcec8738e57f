"""The comparison with other simulators, without installing one: what goes in, what is read back, what is said about it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_report import PEER, Run, markdown, rows
from benchmarks.peer_setting import Setting, mocker_config, mooncake_lines
from benchmarks.peers import OURS, PeerError, parse_peer, run_ours, run_peer, write

SETTING = Setting("small", rate_per_s=20.0, kv_blocks=1_500, requests=200)

FAKE_MOCKER = """
import json
from types import SimpleNamespace

def run_mocker_trace_replay(trace_files, *, extra_engine_args, num_workers, replay_mode, trace_block_size, **options):
    assert (num_workers, replay_mode, options["trace_format"]) == (1, "offline", "mooncake")
    requests = [json.loads(line) for line in open(trace_files[0])]
    assert all(len(r["hash_ids"]) == -(-r["input_length"] // trace_block_size) for r in requests)
    return SimpleNamespace(summary={
        "completed_requests": len(requests), "total_output_tokens": sum(r["output_length"] for r in requests),
        "wall_time_ms": 500.0, "mean_ttft_ms": 15.0, "mean_tpot_ms": 10.0, "duration_ms": 9000.0})
"""


def peer_run(**changed: float) -> str:
    told = {"completed_requests": 200, "total_output_tokens": int(SETTING.workload.output_tokens.sum())}
    times = {"wall_time_ms": 500.0, "mean_ttft_ms": 15.0, "mean_tpot_ms": 10.0, "duration_ms": 9000.0}
    spent = {"call_s": 0.6, "cpu_s": 0.55, "version": "1.6.1"}
    return json.dumps({**told, **times, **spent, **changed})


def run_of(simulator: str, wall_s: float, setting: str = "8/s", **more: object) -> Run:
    fields = {"requests": 10, "output_tokens": 1000, "mean_ttft_s": 0.015, "mean_tpot_s": 0.01, "makespan_s": 9.0}
    return Run(setting, simulator, wall_s, call_s=wall_s, cpu_s=0.9 * wall_s, **{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(mooncake_lines(SETTING.workload, 16)) + "\n")
    return path


def test_the_trace_has_each_request_as_mooncake_writes_it():
    workload = SETTING.workload
    requests = [json.loads(line) for line in mooncake_lines(workload, 16)]
    assert all(set(request) == {"timestamp", "input_length", "output_length", "hash_ids"} for request in requests)
    np.testing.assert_allclose([r["timestamp"] / 1000.0 for r in requests], workload.arrival_s, rtol=1e-12)
    np.testing.assert_array_equal([r["input_length"] for r in requests], workload.prompt_tokens)
    np.testing.assert_array_equal([r["output_length"] for r in requests], workload.output_tokens)


def test_no_two_requests_share_a_prompt_block():
    requests = [json.loads(line) for line in mooncake_lines(SETTING.workload, 16)]
    for request in requests:
        assert 16 * (len(request["hash_ids"]) - 1) < request["input_length"] <= 16 * len(request["hash_ids"])
    ids = [block for request in requests for block in request["hash_ids"]]
    assert len(ids) == len(set(ids))


def test_the_workload_has_the_means_it_promises_and_repeats():
    workload = Setting("8/s", 8.0, 28_000).workload
    assert len(workload) == 10_000
    assert workload.rate == pytest.approx(8.0, rel=0.03)
    assert workload.prompt_tokens.mean() == pytest.approx(250, rel=0.03)
    assert workload.output_tokens.mean() == pytest.approx(300, rel=0.03)
    assert workload == Setting("8/s", 8.0, 28_000).workload


def test_the_mocker_gets_the_limits_of_our_engine():
    engine = SETTING.engine
    given = mocker_config(engine)["engine"]
    ours = (engine.kv_blocks, engine.block_size_tokens, engine.max_num_seqs, engine.max_batched_tokens)
    limits = ("num_gpu_blocks", "block_size", "max_num_seqs", "max_num_batched_tokens")
    assert tuple(given[name] for name in limits) == ours
    assert given["enable_prefix_caching"] is False
    assert (
        given["timing_model"]["decode_ms"] / 1000.0 == engine.step_time(0, 5, 100, 0) == engine.step_time(9, 0, 0, 81)
    )


def test_the_result_of_the_peer_is_read_in_our_units():
    run = parse_peer(f"a warning\n{peer_run()}\n", SETTING)
    assert (run.simulator, run.wall_s, run.mean_ttft_s, run.mean_tpot_s, run.makespan_s) == (
        PEER,
        0.5,
        0.015,
        0.01,
        9.0,
    )
    assert run.tokens_per_s == 2.0 * SETTING.workload.output_tokens.sum()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("", "cannot read"),
        ("Segmentation fault", "Segmentation fault"),
        ('{"wall_time_ms": 5}', "call_s"),
        (peer_run(completed_requests=199), "199 requests"),
        (peer_run(total_output_tokens=7), "7 tokens"),
    ],
)
def test_a_result_that_cannot_be_compared_is_refused(output: str, says: str):
    with pytest.raises(PeerError, match=says):
        parse_peer(output, SETTING)


def test_a_missing_peer_names_the_command_that_installs_it(trace: Path, tmp_path: Path):
    with pytest.raises(PeerError, match=r"tools/setup_peers\.sh"):
        run_peer(SETTING, trace, tmp_path / "none" / "python")


def test_a_failing_replay_shows_why(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_peer(tmp_path, monkeypatch, "def run_mocker_trace_replay(*args, **kwargs): raise ValueError('unknown field')")
    with pytest.raises(PeerError, match="unknown field"):
        run_peer(SETTING, trace, Path(sys.executable))


def test_the_script_for_the_peer_replays_and_reports(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_peer(tmp_path, monkeypatch, FAKE_MOCKER)
    run = run_peer(SETTING, trace, Path(sys.executable))
    assert (run.requests, run.wall_s, run.version) == (200, 0.5, "9.9")
    assert run.output_tokens == SETTING.workload.output_tokens.sum()


def fake_peer(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (folder / "dynamo").mkdir()
    (folder / "dynamo" / "_core.py").write_text(source)
    metadata = folder / "ai_dynamo_runtime-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ai-dynamo-runtime\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize("scheduler", OURS)
def test_our_run_serves_every_request_on_ten_millisecond_steps(scheduler: str):
    workload = Setting("roomy", 5.0, 28_000, requests=200).workload
    run = run_ours(Setting("roomy", 5.0, 28_000, requests=200), workload, scheduler)
    assert (run.simulator, run.requests, run.output_tokens) == (scheduler, 200, workload.output_tokens.sum())
    assert run.mean_tpot_s == pytest.approx(0.010)
    assert 0.010 <= run.mean_ttft_s <= 0.020
    assert run.makespan_s > workload.duration_s - workload.arrival_s[0]


def test_andes_plans_where_memory_is_short():
    crowded = Setting("crowded", 40.0, 400, requests=200)
    assert run_ours(crowded, crowded.workload, "andes").plans_per_iteration > 0.5
    assert run_ours(crowded, crowded.workload, "fcfs").plans_per_iteration == 0.0


def test_rows_compare_runs_of_the_same_turn():
    runs = [run_of(PEER, 1.0), run_of("fcfs", 0.1), run_of(PEER, 2.0), run_of("fcfs", 0.1), run_of(PEER, 4.0)]
    peer, ours = rows([*runs, run_of("fcfs", 0.5)])
    assert (peer.tokens_per_s, peer.ratio, peer.requests_per_s) == ((250.0, 500.0, 1000.0), 1.0, 5.0)
    assert ours.tokens_per_s == (2000.0, pytest.approx(10_000.0), pytest.approx(10_000.0))
    assert ours.ratio == pytest.approx(10.0)  # of 10, 20 and 8; the ratio of the medians would be 20


def test_rows_keep_workloads_apart():
    runs = [run_of(PEER, 1.0), run_of("andes", 0.5), run_of(PEER, 8.0, "20/s"), run_of("andes", 0.5, "20/s")]
    assert [row.ratio for row in rows(runs)] == [1.0, 2.0, 1.0, 16.0]


def test_the_fragment_and_the_numbers_are_written(tmp_path: Path):
    runs = [run_of(PEER, 1.0, version="1.6.1"), run_of("fcfs", 0.04, plans_per_iteration=0.0)]
    write(tmp_path / "new", runs)
    text = (tmp_path / "new" / "peers.md").read_text()
    assert text == markdown(runs)
    assert "| 8/s | andes-rl, FCFS | 0.03 (0.03 to 0.03) | 250 | 25.00 |" in text
    assert "| 8/s | andes-rl, FCFS | 0.015000 | 10.0000 | 9.000 | 0.00 |" in text
    assert "ai-dynamo-runtime 1.6.1" in text and "90%" in text
    stored = json.loads((tmp_path / "new" / "peers.json").read_text())
    assert [entry["tokens_per_s"] for entry in stored] == [run.tokens_per_s for run in runs]
