"""Which trace formats are known, how a header tells the CSV ones apart, and what their fields mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from andes_engine.errors import TraceFormatError

MAX_TOKENS = 10_000_000
"""A longer request than this is taken for a damaged row."""

CHARS_PER_TOKEN = 4.3
"""Characters of English chat for a token, for the one format that counts prompts in characters."""


class Row(NamedTuple):
    """A request as a reader of any format hands it on; `time_s` and `latency_s` are NaN where the format has none."""

    line: int
    time_s: float
    prompt_tokens: int
    output_tokens: int
    latency_s: float = np.nan
    hash_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A CSV format: which columns hold what. Other columns are ignored.

    Args:
        name: For messages.
        time: Column of the arrival time; none in a file of lengths.
        prompt: Column of the prompt's length.
        output: Column of output tokens.
        seconds: Turns a field of the time column into seconds; raises ValueError for what is none.
        time_example: A valid time, for messages.
        chars_per_token: What the prompt's length is divided by, 1 where it is in tokens.
        pace: Column of the reader's pace, s per token.
    """

    name: str
    time: str | None
    prompt: str
    output: str
    seconds: Callable[[str], float] = float
    time_example: str = ""
    chars_per_token: float = 1.0
    pace: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a header must have to be of this format."""
        return tuple(column for column in (self.time, self.prompt, self.output, self.pace) if column)

    def row(self, fields: dict[str, str], path: object, line: int) -> Row:
        """A request from the fields of a line by column; what is wrong is told by file, line and column."""
        where = f"{path}, line {line}"
        output = parse_tokens(fields[self.output], self.output, 0, where)
        prompt = parse_tokens(fields[self.prompt], self.prompt, 1 if output else 0, where)
        return Row(
            line,
            np.nan if self.time is None else self._time_s(fields[self.time].strip(), where),
            max(round(prompt / self.chars_per_token), min(prompt, 1)),
            output,
            np.nan if self.pace is None else _pace_s(fields[self.pace].strip(), self.pace, where),
        )

    def _time_s(self, text: str, where: str) -> float:
        try:
            value = self.seconds(text)
        except (ValueError, OverflowError):
            value = np.nan
        if not (np.isfinite(value) and value >= 0.0):
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
    TraceFormat(
        name="BurstGPT",
        time="Timestamp",
        prompt="Request tokens",
        output="Response tokens",
        time_example="45 or 45.5 (seconds)",
    ),
    TraceFormat(
        name="lengths and paces without times, as of ShareGPT",
        time=None,
        prompt="prompt_chars",
        output="output_tokens",
        chars_per_token=CHARS_PER_TOKEN,
        pace="seconds_per_token",
    ),
)
"""Known CSV formats. To read another CSV, add an entry; the first whose columns are all in the header is used.

Sources: Azure Public Dataset (Patel et al., Splitwise, ISCA 2024); BurstGPT (arXiv 2401.17644), whose failed requests have
0 response tokens, often 0 request tokens as well; lengths and reading speeds from the Andes authors' request trace.
"""


def sniff(header: list[str], path: object) -> TraceFormat:
    """The format whose columns are in the header; an error lists the headers that would do."""
    for known in FORMATS:
        if set(known.columns) <= set(header):
            return known
    wanted = " or ".join(f"'{','.join(known.columns)}' ({known.name})" for known in FORMATS)
    if not any(header):
        raise TraceFormatError(f"{path}: the file is empty; the first line must be {wanted}")
    given = ",".join(header)[:120]
    raise TraceFormatError(
        f"{path}, line 1: unknown header {given!r}; the first line must have {wanted}; a trace in JSON lines begins with {{"
    )


def parse_tokens(text: str, column: str, lowest: int, where: str) -> int:
    """A count of at least `lowest`; `where` opens the message if it is none."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not lowest <= value <= MAX_TOKENS:
        raise TraceFormatError(
            f"{where}: {column} = '{text[:60]}' must be a whole number from {lowest} to {MAX_TOKENS:,}; "
            "mend or remove this line"
        )
    return value


def _pace_s(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not (np.isfinite(value) and value > 0.0):
        raise TraceFormatError(
            f"{where}: {column} = '{text}' must be seconds per token > 0, such as 0.23; mend or remove this line"
        )
    return value
