"""A run of a real engine: its requests as a workload, when their tokens came, and how far another engine is from it.

Reads the folders that LLMServingSim's benchmark of vLLM writes (github.com/casys-kaist/LLMServingSim, MIT): `requests.jsonl` and
`meta.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import TraceFormatError
from andes_engine.workload.workload import Workload

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RecordedEngine:
    """The engine of a recorded run, named as vLLM names things.

    Args:
        kv_blocks: Blocks of the pool, vLLM's null block included.
        block_size_tokens: Tokens per block.
        max_num_seqs: Running sequences at most.
        max_batched_tokens: Token budget of an iteration.
        prefix_caching: Whether blocks are reused, those of a preempted request among them.
        async_scheduling: Whether an iteration is planned while the last one runs, which hides the host's work.
    """

    kv_blocks: int
    block_size_tokens: int
    max_num_seqs: int
    max_batched_tokens: int
    prefix_caching: bool
    async_scheduling: bool


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Requests of a real run with measured times. Arrays have shape (n,), in order of arrival.

    Args:
        workload: Arrival is when the engine took a request in, not when the client sent it.
        first_token_s: When the first token came, s after the first arrival.
        last_token_s: When the last token came, s after the first arrival.
        engine: What it ran on.
    """

    workload: Workload
    first_token_s: FloatArray
    last_token_s: FloatArray
    engine: RecordedEngine

    def agreement(self, first_token_s: FloatArray, last_token_s: FloatArray) -> Agreement:
        """How near another engine came on the same requests; times in the order of `workload`, s on its clock."""
        measured = self._latencies(self.first_token_s, self.last_token_s)
        found = self._latencies(first_token_s, last_token_s)
        ttft, tpot, e2e = (float(mine.mean() / real.mean() - 1.0) for mine, real in zip(found, measured, strict=True))
        return Agreement(ttft, tpot, e2e, float(np.mean(np.abs(found[2] / measured[2] - 1.0))))

    def _latencies(self, first_s: FloatArray, last_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """TTFT, time per later token (of responses that have one) and end to end, s."""
        later = self.workload.output_tokens - 1
        per_token_s = (last_s - first_s)[later > 0] / later[later > 0]
        return first_s - self.workload.arrival_s, per_token_s, last_s - self.workload.arrival_s


@dataclass(frozen=True, slots=True)
class Agreement:
    """Relative errors of mean TTFT, TPOT and end-to-end time against a real run; of the last also the MAPE over requests."""

    ttft: float
    tpot: float
    e2e: float
    e2e_mape: float


def load_recorded_run(folder: str | Path, ttft_s: float = 1.0, latency_s: float = 0.2) -> RecordedRun:
    """Read a run.

    Args:
        folder: Folder with `requests.jsonl` and `meta.json`.
        ttft_s: Expectation given to every reader, s; the run knows none.
        latency_s: Pace given to every reader, s per token.

    Raises:
        TraceFormatError: If a file is missing or malformed; the message names it.
    """
    folder = Path(folder)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
        requests = sorted((json.loads(line) for line in lines), key=lambda request: request["queued_ts"])
        fields = ("queued_ts", "first_token_ts", "last_token_ts", "input_toks", "output_toks")
        queued, first, last, prompt, output = (np.array([one[field] for one in requests]) for field in fields)
        engine = _engine(meta)
    except OSError as error:
        raise TraceFormatError(
            f"{folder}: not a recorded run, {error.filename} cannot be read ({error.strerror})"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise TraceFormatError(f"{folder}: not a recorded run, a field is missing or malformed: {error!r}") from None
    if not requests:
        raise TraceFormatError(f"{folder}: requests.jsonl is empty")
    expected = np.full(len(requests), ttft_s), np.full(len(requests), latency_s)
    workload = Workload(folder.name, queued - queued[0], prompt, output, *expected)
    return RecordedRun(workload, first - queued[0], last - queued[0], engine)


def _engine(meta: Mapping[str, Any]) -> RecordedEngine:
    cache, scheduler = meta["kv_cache"], meta["resolved_config"]["scheduler_config"]
    return RecordedEngine(
        kv_blocks=cache["num_gpu_blocks"],
        block_size_tokens=cache["block_size"],
        max_num_seqs=scheduler["max_num_seqs"],
        max_batched_tokens=scheduler["max_num_batched_tokens"],
        prefix_caching=cache["enable_prefix_caching"],
        async_scheduling=scheduler["async_scheduling"],
    )
