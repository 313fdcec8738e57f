"""The benchmark page: what was measured, against which goal, on which machine, by which command."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from andes_engine.cores import available_cores
from benchmarks.lines import Goal, Result

EXPLAINED = """\
Each number is the median (least to most) of its repeats; the repeats of all lines of a stage were made in turns in one run.
Speeds are per second of wall time; *core share* is processor time over wall time: well below 1 says that something else had
the core, and that the same line on an idle machine is better. Lines run on one core unless they say otherwise.

*Live* requests are those that have arrived and not finished. A closed loop holds their number: whoever finishes is replaced
by a new request (recorded once, then replayed as ordinary arrivals). Prompts have a mean of 250 tokens and outputs of 300,
both geometric; readers take 5 tokens/s; iterations take what they take on an H100 with Llama-3-8B. The timed window has
neither ramp nor drain, and QoE of every token is accounted for in all of it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the numbers were made on.

    Args:
        cpu: Model name.
        cores: Cores this process may use.
        load_before: Load average over a minute before the run.
        load_after: And after it.
    """

    cpu: str
    cores: int
    load_before: float
    load_after: float

    def line(self) -> str:
        """One line for the page."""
        load = f"load average {self.load_before:.1f} before and {self.load_after:.1f} after the run"
        return f"{self.cpu}, {self.cores} cores, {load}, Python {platform.python_version()}"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def machine(load_before: float) -> Machine:
    """This one, at the end of a run."""
    return Machine(_cpu(), available_cores(), load_before, os.getloadavg()[0])


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def markdown(
    results: Sequence[Result], made_on: Machine, command: str, commit: str, versions: Mapping[str, str], peers: str = ""
) -> str:
    """The whole page.

    Args:
        results: What was measured.
        made_on: The machine.
        command: What to run to make it again.
        commit: Of the code.
        versions: Of the packages.
        peers: Markdown of the comparison with other simulators, if it was made.
    """
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    said = f"Made by `{command}` at commit `{commit}`.\n\nMachine: {made_on.line()}. {packages}."
    groups = list(dict.fromkeys(result.line.group for result in results))
    parts = ["# Benchmarks", said, EXPLAINED]
    for group in groups:
        parts += [f"## {group}", table([result for result in results if result.line.group == group])]
    if peers:
        parts += ["## Beside other simulators (`make bench-peers`)", peers.strip()]
    return "\n\n".join(parts) + "\n"


_HEADER = ("what", "median (least to most)", "unit", "goal", "met", "repeats", "seen on the way (medians)")


def table(results: Sequence[Result]) -> str:
    """One row for each result."""
    rule = ("---", "---:", "---", "---", "---", "---:", "---")
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (_HEADER, rule, *map(_cells, results)))


def _cells(result: Result) -> tuple[str, ...]:
    least, most = result.spread
    value = f"{number(result.value)} ({number(least)} to {number(most)})"
    facts = "; ".join(f"{name} {number(fact)}" for name, fact in result.facts.items())
    line = result.line
    return line.title, value, line.unit, _goal(line.goal), _met(result), str(len(result.samples)), facts


def _met(result: Result) -> str:
    goal = result.line.goal
    if goal is None or goal.met(result.value):
        return "" if goal is None else "yes"
    small, large = sorted((goal.bound, result.value))
    return "**no**" if small <= 0.0 else f"**no** ({large / small:.2g}x off)"


def _goal(goal: Goal | None) -> str:
    return "" if goal is None else f"{'≥' if goal.at_least else '≤'} {number(goal.bound)}"


def number(value: float) -> str:
    """Three significant digits, whole numbers in full."""
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"
