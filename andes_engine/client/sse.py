"""Server-sent events out of a byte stream, whatever blocks it comes in (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations


class EventParser:
    """Gives the data of each event that is complete; feed it the blocks as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, block: bytes) -> list[str]:
        """Data of the events that this block completes.

        Raises:
            UnicodeDecodeError: If a line is not UTF-8.
        """
        *lines, self._rest = (self._rest + block).split(b"\n")
        events = []
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text.startswith("data:"):
                self._data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and self._data:
                events.append("\n".join(self._data))
                self._data = []
        return events
