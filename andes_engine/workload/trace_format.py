"""Which trace formats are known, how a header tells them apart, and how a field of theirs becomes a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from andes_engine.errors import TraceFormatError

MAX_TOKENS = 10_000_000
"""A longer request than this is taken for a damaged row."""


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A CSV format: which columns hold what. Other columns are ignored.

    Args:
        name: For messages.
        time: Column of the arrival time.
        prompt: Column of prompt tokens.
        output: Column of output tokens.
        seconds: Turns a field of the time column into seconds; raises ValueError for what is none.
        time_example: A valid time, for messages.
    """

    name: str
    time: str
    prompt: str
    output: str
    seconds: Callable[[str], float]
    time_example: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """Columns that a header must have to be of this format."""
        return self.time, self.prompt, self.output

    def parse_time(self, text: str, where: str) -> float:
        """Arrival time, s; `where` opens the message if it is none."""
        try:
            value = self.seconds(text)
        except (ValueError, OverflowError):
            value = np.nan
        if not np.isfinite(value):
            raise TraceFormatError(
                f"{where}: {self.time} = '{text}' is not a time like {self.time_example}; mend or remove this line"
            )
        return value


def timestamp_seconds(text: str) -> float:
    """Seconds of an ISO 8601 time, UTC unless it says otherwise; digits below a microsecond (Azure has one) are cut."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


FORMATS: tuple[TraceFormat, ...] = (
    TraceFormat(
        name="Azure LLM inference trace",
        time="TIMESTAMP",
        prompt="ContextTokens",
        output="GeneratedTokens",
        seconds=timestamp_seconds,
        time_example="2023-11-16 18:15:46.6805900",
    ),
)
"""Known formats. To read another CSV, add an entry; the first whose columns are all in the header is used."""


def sniff(header: list[str], path: object) -> TraceFormat:
    """The format whose columns are in the header; an error lists the headers that would do."""
    for known in FORMATS:
        if set(known.columns) <= set(header):
            return known
    wanted = " or ".join(f"'{','.join(known.columns)}' ({known.name})" for known in FORMATS)
    if not any(header):
        raise TraceFormatError(f"{path}: the file is empty; the first line must be {wanted}")
    raise TraceFormatError(
        f"{path}, line 1: unknown header '{','.join(header)[:120]}'; the first line must be {wanted}"
    )


def parse_tokens(text: str, column: str, lowest: int, where: str) -> int:
    """A token count of at least `lowest`; `where` opens the message if it is none."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not lowest <= value <= MAX_TOKENS:
        raise TraceFormatError(
            f"{where}: {column} = '{text}' must be a whole number from {lowest} to {MAX_TOKENS:,}; "
            "mend or remove this line"
        )
    return value
