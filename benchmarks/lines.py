"""A line of the benchmark table: what is measured, the goal it is held against, and the repeats it is made of."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Facts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One repeat.

    Args:
        value: What the line reports, in its unit.
        facts: What else was seen, by name with unit; shown as medians beside the value.
    """

    value: float
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound to stay above (`at_least`) or below, in the line's unit."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """Something to measure.

    Args:
        group: Heading it stands under.
        title: What is measured.
        unit: Of the value.
        measure: One repeat; whatever has to be compiled or recorded is done by then.
        goal: What it should reach, if anything was promised.
        repeats: Repeats at most, for what takes minutes; by default as many as the run makes.
    """

    group: str
    title: str
    unit: str
    measure: Callable[[], Sample]
    goal: Goal | None = None
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A line's repeats."""

    line: Line
    samples: Sequence[Sample]

    @property
    def value(self) -> float:
        """Median over the repeats."""
        return median(sample.value for sample in self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest value."""
        values = [sample.value for sample in self.samples]
        return min(values), max(values)

    @property
    def facts(self) -> dict[str, float]:
        """Median of each fact."""
        return {name: median(sample.facts[name] for sample in self.samples) for name in self.samples[0].facts}

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the goal; None without one."""
        return None if self.line.goal is None else self.line.goal.met(self.value)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        line = self.line
        goal = None if line.goal is None else {"bound": line.goal.bound, "at_least": line.goal.at_least}
        samples = [{"value": sample.value, "facts": dict(sample.facts)} for sample in self.samples]
        named = {"group": line.group, "title": line.title, "unit": line.unit, "goal": goal, "met": self.met}
        return {**named, "median": self.value, "least": self.spread[0], "most": self.spread[1], "samples": samples}


def run_in_turns(lines: Sequence[Line], repeats: int, say: Callable[[str], None] = print) -> list[Result]:
    """Measure all lines once, then all again, so that what else the machine does hits all of them alike."""
    taken: list[list[Sample]] = [[] for _ in lines]
    for turn in range(repeats):
        for line, samples in zip(lines, taken, strict=True):
            if turn < (line.repeats or repeats):
                samples.append(line.measure())
                say(f"  {turn + 1}/{repeats}  {line.title}: {samples[-1].value:,.4g} {line.unit}")
    return [Result(line, samples) for line, samples in zip(lines, taken, strict=True)]


class Stopwatch:
    """Wall and processor time of a `with` block, s."""

    def __enter__(self) -> Stopwatch:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._wall_s
        self.cpu_s = time.process_time() - self._cpu_s

    @property
    def core_share(self) -> float:
        """Processor time over wall time: below 1 where others had the core (or more than one thread ran)."""
        return self.cpu_s / self.wall_s


@contextmanager
def pinned(cores: Iterable[int]) -> Iterator[None]:
    """Keep this process, and those it starts, on the given cores for a `with` block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def timed_methods(methods: Mapping[str, tuple[type, str]]) -> Iterator[dict[str, list[float]]]:
    """Seconds of each call of some classes' methods during a `with` block, of all threads, by wrapping the methods."""
    spent_s: dict[str, list[float]] = {name: [] for name in methods}
    plain = {name: getattr(owner, method) for name, (owner, method) in methods.items()}
    for name, (owner, method) in methods.items():
        setattr(owner, method, _timed(plain[name], spent_s[name]))
    try:
        yield spent_s
    finally:
        for name, (owner, method) in methods.items():
            setattr(owner, method, plain[name])


def _timed(method: Callable[..., Any], spent_s: list[float]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        started_s = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            spent_s.append(time.perf_counter() - started_s)

    return call
