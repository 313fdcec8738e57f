"""All benchmarks: `python -m benchmarks.bench [--repeats N] [--only GROUP ...]`, or `make bench`.

Writes `benchmarks/RESULTS.md` and `runs/benchmarks/results.json`. No test: a missed goal is reported, not raised.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from andes_engine.errors import AndesError
from andes_engine.report.provenance import commit, versions
from benchmarks.batched_lines import batched_lines
from benchmarks.bench_report import Machine, machine, markdown
from benchmarks.data_file import made_by, write_data
from benchmarks.decision_lines import authors_line, decision_lines, packing_lines
from benchmarks.engine_lines import engine_lines, memory_lines, ratio_lines
from benchmarks.lines import Line, Result, pinned, run_in_turns
from benchmarks.start_lines import cold_lines, start_lines
from benchmarks.training_lines import training_lines

GROUPS: dict[str, Callable[[], list[Line]]] = {
    "engine": engine_lines,
    "decision": decision_lines,
    "start": start_lines,
    "cold": cold_lines,
    "ratios": lambda: [*ratio_lines(), authors_line()],
    "packing": packing_lines,
    "memory": memory_lines,
    "batched": batched_lines,
    "training": training_lines,
}
"""Lines by the name `--only` knows."""

ON_ALL_CORES = ("batched", "training", "cold")
APART = (*ON_ALL_CORES, "start")
"""Not in turns with the rest: they use all cores, or are processes of their own."""


def measure(groups: Sequence[str], repeats: int) -> Iterator[list[Result]]:
    """Prepare (record, compile) and measure the groups: those on one core in turns, then those of `APART`.

    Yields everything so far after each stage, so that a page can be written before the last of them is done.

    Raises:
        AndesError: If a group is not known or there is no repeat.
    """
    unknown = set(groups) - set(GROUPS)
    if unknown or repeats < 1:
        raise AndesError(f"need groups out of {', '.join(GROUPS)} and repeats >= 1, got {list(groups)} and {repeats}")
    results: list[Result] = []
    allowed = os.sched_getaffinity(0)
    for stage in ([name for name in groups if name not in APART], *([name] for name in APART if name in groups)):
        with pinned(allowed if any(name in ON_ALL_CORES for name in stage) else {max(allowed)}):
            results = results + run_in_turns([line for name in stage for line in GROUPS[name]()], repeats)
        yield results


def write(page: Path, data: Path, results: Sequence[Result], made_on: Machine, command: str) -> None:
    """The page, with what `make bench-peers` last found beside `data`, and every sample as JSON."""
    peers, samples = data.parent / "peers.md", [result.as_dict() for result in results]
    write_data(data, {"machine": made_on.as_dict(), **made_by(command), "results": samples})
    found = peers.read_text(encoding="utf-8") if peers.exists() else ""
    page.write_text(markdown(results, made_on, command, commit(), versions(), found), encoding="utf-8")


def main(given: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each line, in turns (default 5)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="groups (default: all)")
    parser.add_argument("--page", type=Path, default=Path("benchmarks/RESULTS.md"))
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/results.json"))
    asked = parser.parse_args(given)
    load_before = os.getloadavg()[0]
    partly = "" if asked.only == list(GROUPS) else f" --only {' '.join(asked.only)}"
    command = f"python -m benchmarks.bench --repeats {asked.repeats}{partly}"
    for results in measure(asked.only, asked.repeats):
        write(asked.page, asked.data, results, machine(load_before), command)
    print(f"written to {asked.page} and {asked.data}")


if __name__ == "__main__":
    main()
