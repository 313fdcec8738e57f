from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from andes_engine.errors import TraceFormatError
from andes_engine.workload.recorded_run import RecordedEngine, load_recorded_run

META = {
    "kv_cache": {"num_gpu_blocks": 100, "block_size": 16, "enable_prefix_caching": True},
    "resolved_config": {
        "scheduler_config": {"max_num_seqs": 8, "max_num_batched_tokens": 512, "async_scheduling": True}
    },
}


def request(queued: float, first: float, last: float, prompt: int = 10, output: int = 5) -> dict[str, float]:
    return {
        "queued_ts": queued,
        "first_token_ts": first,
        "last_token_ts": last,
        "input_toks": prompt,
        "output_toks": output,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    requests = [request(101.0, 104.0, 108.0, output=1), request(100.0, 102.0, 106.0)]
    (tmp_path / "requests.jsonl").write_text("\n".join(map(json.dumps, requests)))
    (tmp_path / "meta.json").write_text(json.dumps(META))
    return tmp_path


def test_a_run_is_read_in_order_of_arrival_from_its_first(folder: Path) -> None:
    run = load_recorded_run(folder, ttft_s=2.0, latency_s=0.1)
    assert run.workload.arrival_s.tolist() == [0.0, 1.0]
    assert run.workload.output_tokens.tolist() == [5, 1]
    assert (run.workload.ttft_s[0], run.workload.latency_s[0]) == (2.0, 0.1)
    assert (run.first_token_s.tolist(), run.last_token_s.tolist()) == ([2.0, 4.0], [6.0, 8.0])
    assert run.engine == RecordedEngine(100, 16, 8, 512, prefix_caching=True, async_scheduling=True)


def test_agreement_is_relative_and_by_request(folder: Path) -> None:
    run = load_recorded_run(folder)
    exact = run.agreement(run.first_token_s, run.last_token_s)
    assert (exact.ttft, exact.tpot, exact.e2e, exact.e2e_mape) == (0.0, 0.0, 0.0, 0.0)
    # one request a second late, the other a second early, and the only one with later tokens in 5 instead of 4 s
    off = run.agreement(run.first_token_s, run.last_token_s + np.array([1.0, -1.0]))
    assert (off.ttft, off.tpot, off.e2e) == pytest.approx((0.0, 0.25, 0.0))
    assert off.e2e_mape == pytest.approx((1 / 6 + 1 / 7) / 2)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("meta.json", None, "meta.json cannot be read"),
        ("meta.json", "{}", "KeyError"),
        ("requests.jsonl", '{"queued_ts": 1.0}', "KeyError"),
        ("requests.jsonl", "", "empty"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(folder: Path, file: str, text: str | None, message: str) -> None:
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(TraceFormatError, match=message):
        load_recorded_run(folder)
