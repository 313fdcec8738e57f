"""Replay one trace through NVIDIA Dynamo's mocker and print what came of it, as one line of JSON.

Runs in an environment of its own (`tools/setup_peers.sh`), so it imports nothing of this project. Only the function
`run_mocker_trace_replay` of `ai-dynamo-runtime` is used; its offline mode simulates in virtual time, on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from typing import Any


def replay(trace: str, config: dict[str, Any], block_size_tokens: int) -> dict[str, Any]:
    """One replay with one worker, timed.

    Args:
        trace: Path of a Mooncake-format JSONL file.
        config: The mocker's engine configuration, `{"engine": {...}}`.
        block_size_tokens: Prompt tokens that one entry of a request's `hash_ids` stands for.

    Returns:
        The mocker's own summary, with the seconds of this call: `call_s` on the wall and `cpu_s` of the processor. Both
        include reading the trace; the summary's `wall_time_ms` does not.
    """
    from dynamo._core import run_mocker_trace_replay

    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = run_mocker_trace_replay(
        [trace],
        extra_engine_args=config,
        num_workers=1,
        replay_mode="offline",
        trace_format="mooncake",
        trace_block_size=block_size_tokens,
        capture_per_request=False,
        capture_planner_details=False,
    )
    spent = {"call_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
    return {**dict(result.summary), **spent}


def main() -> None:
    """Replay twice, print the second: the first one pays for loading and for growing the heap."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", help="Mooncake-format JSONL file")
    parser.add_argument("--config", type=json.loads, required=True, help="the mocker's configuration, as JSON")
    parser.add_argument("--block-size", type=int, required=True, help="prompt tokens per hash id")
    given = parser.parse_args()
    replay(given.trace, given.config, given.block_size)
    timed = replay(given.trace, given.config, given.block_size)
    print(json.dumps({"version": version("ai-dynamo-runtime"), **timed}))


if __name__ == "__main__":
    main()
