"""Our simulator beside NVIDIA Dynamo's mocker: `python -m benchmarks.peers [--out FOLDER]`, or `make bench-peers`.

Both simulate the same requests on engines set alike, in turns, pinned to one core. What is timed: of ours, one call of
`simulate` in this process, after a first one (compiling is not counted); of the mocker, the replay as the mocker itself times
it, after a first one, without reading the trace. Per-token QoE accounting is always on in ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from andes_engine.errors import AndesError
from andes_engine.knobs import Knobs
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import simulate
from andes_engine.workload import Workload
from benchmarks.peer_report import PEER, Run, markdown
from benchmarks.peer_setting import SETTINGS, Setting, mocker_config, mooncake_lines

ROOT = Path(__file__).parents[1]
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
TIMEOUT_S = 600
OURS = {"fcfs": Knobs(), "andes": Knobs({"planning_period_s": 0.0})}
"""Schedulers measured. Andes plans at every iteration that has something to plan."""


class PeerError(AndesError):
    """The other simulator is not installed, failed, or did not simulate what it was given."""


def run_ours(setting: Setting, workload: Workload, scheduler: str) -> Run:
    """One timed call of `simulate`; the caller has made one before, so that nothing is compiled in it."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    record = simulate(setting.engine, workload, scheduler, OURS[scheduler])
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return _run_of(record, setting.name, wall_s, cpu_s)


def _run_of(record: RunRecord, setting: str, wall_s: float, cpu_s: float) -> Run:
    asked, more = record.workload, record.workload.output_tokens > 1
    decoding_s = (record.finish_s - record.first_token_s)[more]
    return Run(
        setting=setting,
        simulator=record.scheduler,
        wall_s=wall_s,
        call_s=wall_s,
        cpu_s=cpu_s,
        requests=int(record.finished.sum()),
        output_tokens=int(record.emitted_tokens.sum()),
        mean_ttft_s=float(record.ttft_s.mean()),
        mean_tpot_s=float((decoding_s / (asked.output_tokens[more] - 1)).mean()),
        makespan_s=float(np.max(record.finish_s) - asked.arrival_s[0]),
        plans_per_iteration=record.notes["decisions"] / record.notes["steps"],
    )


def run_peer(setting: Setting, trace: Path, python: Path = PEER_PYTHON) -> Run:
    """One replay by the mocker, in a process of its own that inherits this one's core.

    Raises:
        PeerError: If its environment is not there, the replay fails, or its result cannot be read.
    """
    if not python.exists():
        raise PeerError(f"'{python}' does not exist; `bash tools/setup_peers.sh` installs NVIDIA Dynamo's mocker there")
    config = json.dumps(mocker_config(setting.engine))
    block_size = str(setting.engine.block_size_tokens)
    script = str(ROOT / "benchmarks" / "peer_mocker.py")
    command = [str(python), script, str(trace), "--config", config, "--block-size", block_size]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise PeerError(
            f"the mocker was not done with '{setting.name}' after {TIMEOUT_S} s; give fewer --requests"
        ) from None
    if done.returncode != 0:
        end = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise PeerError(f"the mocker failed on '{setting.name}' (exit status {done.returncode}):\n{end}")
    return parse_peer(done.stdout, setting)


def parse_peer(output: str, setting: Setting) -> Run:
    """The mocker's result from the last line it printed (see `peer_mocker`).

    Raises:
        PeerError: If that is not the JSON expected, or requests or tokens are missing from it.
    """
    line = output.strip().rpartition("\n")[2]
    try:
        told = json.loads(line)
        run = Run(
            setting=setting.name,
            simulator=PEER,
            wall_s=told["wall_time_ms"] / 1000.0,
            call_s=told["call_s"],
            cpu_s=told["cpu_s"],
            requests=told["completed_requests"],
            output_tokens=told["total_output_tokens"],
            mean_ttft_s=told["mean_ttft_ms"] / 1000.0,
            mean_tpot_s=told["mean_tpot_ms"] / 1000.0,
            makespan_s=told["duration_ms"] / 1000.0,
            version=told["version"],
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise PeerError(
            f"cannot read the mocker's result ({error!r}) in {line[:200]!r}; is it the version in tools/setup_peers.sh?"
        ) from None
    expected = setting.workload.output_tokens
    if (run.requests, run.output_tokens) != (len(expected), expected.sum()):
        raise PeerError(
            f"the mocker simulated {run.requests} requests and {run.output_tokens} tokens of '{setting.name}', "
            f"not {len(expected)} and {expected.sum()}; a comparison would mean nothing"
        )
    return run


def measure(setting: Setting, repeats: int, python: Path = PEER_PYTHON) -> list[Run]:
    """All simulators in turns, `repeats` times, so that what else the machine does hits all of them alike."""
    workload, runs = setting.workload, []
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        lines = mooncake_lines(workload, setting.engine.block_size_tokens)
        trace.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for scheduler in OURS:
            run_ours(setting, workload, scheduler)
        for _ in range(repeats):
            runs.append(run_peer(setting, trace, python))
            runs += [run_ours(setting, workload, scheduler) for scheduler in OURS]
    return runs


def pin_to(core: int | None) -> int:
    """Keep this process, and those it starts, on one core (the last allowed one by default); returns which."""
    chosen = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {chosen})
    return chosen


def write(folder: Path, runs: list[Run]) -> None:
    """`peers.json` with every run, and `peers.md`, a fragment for a larger document."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.json").write_text(json.dumps([run.as_dict() for run in runs], indent=1) + "\n", encoding="utf-8")
    (folder / "peers.md").write_text(markdown(runs), encoding="utf-8")


def main() -> None:
    """Measure, print the tables, write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder for peers.json and peers.md")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each simulator (default 3)")
    parser.add_argument("--requests", type=int, default=10_000, help="requests per workload (default 10000)")
    parser.add_argument("--core", type=int, help="core to run on (default: the last one allowed)")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter that has ai-dynamo-runtime")
    given = parser.parse_args()
    print(f"on core {pin_to(given.core)} alone; {given.repeats} runs of each simulator, in turns", flush=True)
    runs = []
    for setting in SETTINGS:
        print(f"  {setting.name} ...", flush=True)
        runs += measure(setting.with_requests(given.requests), given.repeats, given.peer_python)
    write(given.out, runs)
    print(f"\n{markdown(runs)}\nwritten to {given.out}/peers.json and peers.md")


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        sys.exit(f"bench-peers: {error}")
