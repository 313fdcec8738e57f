"""One response as its reader takes it in: when its tokens came, when they were shown, how well that kept up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from andes_engine.errors import InvalidTimelineError, UnknownNameError
from andes_engine.qoe import headline_qoe

Start = Literal["expected", "arrival"]
"""When the first token is shown: not before the reader expects it, as the paper's token pacer does, or when it arrives.

QoE is the same; only `expected` shows no stall where the server lets a response rest because its reader has text left: the
server reckons that reading begins at the expected time (`request.next_due_s`).
"""


@dataclass(frozen=True, slots=True)
class Reader:
    """What a reader expects.

    Args:
        ttft_s: Expected time to first token, s, >= 0.
        tds: Pace, tokens/s, > 0.

    Raises:
        InvalidTimelineError: If a value is out of range.
    """

    ttft_s: float = 1.0
    tds: float = 4.5

    def __post_init__(self) -> None:
        if not (0.0 <= self.ttft_s < math.inf and 0.0 < self.tds < math.inf):
            raise InvalidTimelineError(
                f"a reader needs ttft_s >= 0 s and tds > 0 tokens/s, finite; got {self.ttft_s!r} and {self.tds!r}"
            )

    @property
    def latency_s(self) -> float:
        """Pace, s per token."""
        return 1.0 / self.tds

    @property
    def vllm_xargs(self) -> dict[str, float]:
        """The expectation as a request to `AndesScheduler` carries it."""
        return {"qoe_ttft": self.ttft_s, "qoe_tds": self.tds}


class Reading:
    """Live record of one response; its pacer writes it, anybody may look. All times are s after the request was sent.

    Args:
        reader: What the reader expects.
        start: When the first token is shown.

    Attributes:
        delivered_s: When each token came.
        consumed_s: When each token was taken in; of several shown at once, one after the other at the reader's pace.
    """

    def __init__(self, reader: Reader, start: Start = "expected") -> None:
        if start not in get_args(Start):
            raise UnknownNameError("start of reading", start, get_args(Start))
        self.reader = reader
        self.delivered_s: list[float] = []
        self.consumed_s: list[float] = []
        self._first_due_s = reader.ttft_s if start == "expected" else 0.0

    @property
    def buffered_tokens(self) -> int:
        """Tokens that came and were not shown yet."""
        return len(self.delivered_s) - len(self.consumed_s)

    @property
    def due_s(self) -> float:
        """When the reader is ready for the next token."""
        return self.consumed_s[-1] + self.reader.latency_s if self.consumed_s else self._first_due_s

    @property
    def qoe(self) -> float:
        """Headline QoE of the tokens that came so far; 1 before the first."""
        if not self.delivered_s:
            return 1.0
        return headline_qoe(self.delivered_s, self.reader.ttft_s, self.reader.latency_s)

    def deliver(self, tokens: int, now_s: float) -> None:
        """Tokens came."""
        self.delivered_s.extend([now_s] * tokens)

    def consume(self, tokens: int, now_s: float) -> None:
        """Tokens are shown together, at `due_s` or later."""
        self.consumed_s.extend(now_s + place * self.reader.latency_s for place in range(tokens))
