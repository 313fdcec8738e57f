"""One side of the page: a workload replayed on one source, and what its readers see of it at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from andes_engine.client.async_pacer import AsyncPacer
from andes_engine.client.chunks import chunk_text
from andes_engine.client.completions import StreamFailure
from andes_engine.client.page.sources import Source
from andes_engine.client.reading import Reader, Reading
from andes_engine.records import qoe_upper_bound
from andes_engine.workload import Workload

TEXT_CHARS = 420
"""The end of a response's text that a card has room for."""


@dataclass(slots=True)
class View:
    """One response as its reader sees it."""

    arrival_s: float
    output_tokens: int
    reading: Reading
    text: str = ""
    ended: bool = False
    failure: str = ""

    def state(self, now_s: float) -> str:
        """`later` before the request came, `wait` while a reader has nothing to read and should, and what else can be."""
        if now_s < self.arrival_s:
            return "later"
        if self.failure:
            return "failed"
        if self.ended:
            return "done"
        if self.reading.buffered_tokens == 0 and self.reading.due_s < now_s - self.arrival_s:
            return "wait"
        return "read" if self.reading.consumed_s else "asked"

    def qoe(self, now_s: float) -> float:
        """What the response's QoE will be if everything missing comes now."""
        delivered_s, reader = self.reading.delivered_s, self.reading.reader
        missing = max(self.output_tokens - len(delivered_s), 0)
        return qoe_upper_bound(delivered_s, missing, now_s - self.arrival_s, reader.ttft_s, reader.latency_s)


class Pane:
    """A replay that can be looked at.

    Args:
        name: What the page calls it.
        source: Where its responses come from.
        workload: What is asked.
        cards: Rows whose text is shown.
    """

    def __init__(self, name: str, source: Source, workload: Workload, cards: Sequence[int]) -> None:
        self.name = name
        self.views = [
            View(float(arrival_s), int(tokens), Reading(Reader(float(ttft_s), 1.0 / float(latency_s))))
            for arrival_s, tokens, ttft_s, latency_s in zip(
                workload.arrival_s, workload.output_tokens, workload.ttft_s, workload.latency_s, strict=True
            )
        ]
        self._source, self._cards = source, tuple(cards)

    async def run(self, start_s: float) -> None:
        """Ask for every response at its time, and read them all to their end.

        Args:
            start_s: The event loop's time that is 0 on the workload's clock, s.
        """
        async with asyncio.TaskGroup() as group:
            for row, view in enumerate(self.views):
                await asyncio.sleep(start_s + view.arrival_s - asyncio.get_running_loop().time())
                group.create_task(self._read(row, view, start_s))

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """What there is to see, as plain data.

        Args:
            now_s: Time on the workload's clock, s.
        """
        states = [view.state(now_s) for view in self.views]
        qoe = [view.qoe(now_s) if state != "later" else 1.0 for view, state in zip(self.views, states, strict=True)]
        asked = [value for value, state in zip(qoe, states, strict=True) if state != "later"]
        return {
            "name": self.name,
            "qoe": float(np.mean(asked)) if asked else 1.0,
            "waiting": states.count("wait"),
            "tokens": sum(len(view.reading.delivered_s) for view in self.views),
            "states": states,
            "cards": [self._card(row, states[row], qoe[row]) for row in self._cards],
        }

    def _card(self, row: int, state: str, qoe: float) -> dict[str, Any]:
        view = self.views[row]
        return {
            "request": row,
            "state": view.failure or state,
            "qoe": qoe,
            "shown": len(view.reading.consumed_s),
            "buffered": view.reading.buffered_tokens,
            "tokens": view.output_tokens,
            "text": view.text[-TEXT_CHARS:],
        }

    async def _read(self, row: int, view: View, start_s: float) -> None:
        pacer = AsyncPacer(self._source(row, start_s), view.reading.reader, sent_s=start_s + view.arrival_s)
        view.reading = pacer.reading
        try:
            async with pacer:
                async for chunk in pacer:
                    view.text += chunk_text(chunk)
        except StreamFailure as failure:
            view.failure = failure.kind
        view.ended = True
