"""The token pacer: a stream as it comes in, handed on at the pace of its reader, and what came early kept until then.

Andes' client side (arXiv 2404.16283): the server sends tokens as soon as they exist, the client shows them at the reader's
pace from the expected start. What is in the buffer is what makes a preemption on the server free for the reader.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol

from andes_engine.client.pacing_buffer import Item, PacingBuffer
from andes_engine.client.reading import Reader, Reading


class Clock(Protocol):
    """Time for a `Pacer`."""

    def now_s(self) -> float:
        """Seconds, from anywhere."""
        ...

    def wait(self, changed: threading.Condition, timeout_s: float | None) -> None:
        """Wait, holding `changed`, until it is notified or the time is up."""
        ...


class MonotonicClock:
    """Real time."""

    def now_s(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def wait(self, changed: threading.Condition, timeout_s: float | None) -> None:
        """Wait for the condition."""
        changed.wait(timeout_s)


class Pacer(Generic[Item]):
    """Shows a stream at its reader's pace; a thread reads ahead. Iterate once, or close it.

        sent_s = time.monotonic()
        stream = client.completions.create(..., stream=True, extra_body={"vllm_xargs": reader.vllm_xargs})
        for chunk in Pacer(stream, reader, sent_s=sent_s):
            print(chunk.choices[0].text, end="", flush=True)

    Order is kept and nothing is lost: an error of the source is raised after everything that came before it was shown.
    Leaving the loop early closes the source, as soon as it hands over its next item if it is a generator.

    Args:
        source: Chunks of an OpenAI stream, or any items.
        reader: What the reader expects.
        sent_s: When the request was sent, on the clock; now by default.
        most_items: Items read ahead at most; the source waits while there are as many. No limit by default.
        clock: Time; another one for tests.
        **how: `start`, `tokens` and `split`, as in `PacingBuffer`.

    Attributes:
        reading: The live record.
    """

    def __init__(
        self,
        source: Iterable[Item],
        reader: Reader,
        *,
        sent_s: float | None = None,
        most_items: int | None = None,
        clock: Clock | None = None,
        **how: Any,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._buffer: PacingBuffer[Item] = PacingBuffer(
            reader, self._clock.now_s() if sent_s is None else sent_s, **how
        )
        self.reading: Reading = self._buffer.reading
        self._source = source
        self._most_items = most_items
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        threading.Thread(target=self._read, name="pacer", daemon=True).start()

    def __iter__(self) -> Iterator[Item]:
        try:
            while True:
                with self._changed:
                    if not self._wait_until_due():
                        break
                    item = self._buffer.take(self._clock.now_s())
                    self._changed.notify_all()
                yield item
            if self._error is not None and not self._closed:
                raise self._error
        finally:
            self.close()

    def __enter__(self) -> Pacer[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Show no more and close the source; what is still held is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if not inspect.isgenerator(self._source):  # a running generator can only be closed by the thread that runs it
            self._close_source()

    def _wait_until_due(self) -> bool:
        """Whether there is an item to show, waiting for it; false at the end of the stream."""
        while not self._closed:
            if len(self._buffer):
                wait_s = self._buffer.wait_s(self._clock.now_s())
                if wait_s == 0.0:
                    return True
                self._clock.wait(self._changed, wait_s)
            elif self._ended:
                return False
            else:
                self._clock.wait(self._changed, None)
        return False

    def _read(self) -> None:
        try:
            try:
                self._fill()
            finally:
                self._close_source()
        except BaseException as error:
            self._error = error  # raised where the stream is shown
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _fill(self) -> None:
        for item in self._source:
            with self._changed:
                self._changed.wait_for(self._has_room)
                if self._closed:
                    return
                self._buffer.put(item, self._clock.now_s())
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or self._most_items is None or len(self._buffer) < self._most_items

    def _close_source(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
