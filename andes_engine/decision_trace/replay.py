"""Makes traced decisions again, and says whether they come out the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from andes_engine.decision import decide
from andes_engine.decision_buffers import PLANNED, empty_decision
from andes_engine.decision_trace.format import Arrays, TracedDecision, outputs_of, read_trace
from andes_engine.engine import EngineView
from andes_engine.plan_memory import PlanMemory, empty_memory
from andes_engine.request import REQUEST, Requests, empty_requests


class Replay(NamedTuple):
    """What came out.

    Attributes:
        decisions: Decisions in the file.
        plans: Those that were plans, not continuations or open gates.
        differing: Numbers of the decisions that came out differently.
        first_difference: Which output of the first of them differed and how; empty if none did.
        version: Version of andes_engine that the server ran.
    """

    decisions: int
    plans: int
    differing: list[int]
    first_difference: str
    version: str


def replay_trace(path: Path) -> Replay:
    """Decide again on everything in a file.

    Raises:
        TraceFormatError: If the file is missing, no trace, or damaged.
    """
    header, traced = read_trace(path)
    count = plans = 0
    differing, first = [], ""
    for decision in traced:
        again = decide_again(header, decision)
        count += 1
        plans += int(decision.outputs["head"][PLANNED])
        difference = _difference(decision.outputs, again)
        if difference:
            differing.append(decision.number)
            first = first or difference
    return Replay(count, plans, differing, first, str(header["version"]))


def decide_again(header: dict[str, Any], traced: TracedDecision) -> Arrays:
    """The outputs of `decide` for the inputs of a traced decision."""
    inputs = traced.inputs
    running, waiting = inputs["running"], inputs["waiting"]
    table, memory = _table(inputs), _memory(inputs)
    view = _view(inputs["view"].tolist())
    step_time = np.array([float.fromhex(value) for value in header["step_time"]])
    decision = empty_decision(int(header["max_num_seqs"]), max(1, len(running) + len(waiting)))
    scheduler = int(header["scheduler"])
    decide(table, running, waiting, view, scheduler, inputs["knobs"], step_time, memory, decision)
    return outputs_of(decision, table, running)


def _view(values: list[float]) -> EngineView:
    """All between the clock and the price of a block are whole numbers."""
    return EngineView._make([values[0], *map(int, values[1:-1]), values[-1]])


def _table(inputs: Arrays) -> Requests:
    table = empty_requests(int(inputs["table_rows"][0]))
    rows = np.concatenate([inputs["running"], inputs["waiting"]])
    table[rows] = np.ascontiguousarray(inputs["rows"]).view(REQUEST).reshape(len(rows))
    return table


def _memory(inputs: Arrays) -> PlanMemory:
    memory = empty_memory(int(inputs["table_rows"][0]), len(inputs["user_service"]))
    for name in ("rhythm", "ranking", "user_service", "length_kind", "hazard"):
        getattr(memory, name)[: len(inputs[name])] = inputs[name]
    return memory


def _difference(traced: Arrays, again: Arrays) -> str:
    for name, values in traced.items():
        if values.tobytes() != again[name].tobytes():
            return f"{name} was {values.tolist()}, is {again[name].tolist()}"
    return ""
