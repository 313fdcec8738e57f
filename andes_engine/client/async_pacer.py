"""The token pacer for asynchronous streams."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic

from andes_engine.client.pacing_buffer import Item, PacingBuffer
from andes_engine.client.reading import Reader, Reading


class AsyncPacer(Generic[Item]):
    """`Pacer` for asynchronous streams; a task of the running event loop reads ahead.

    Leaving the loop early closes the source; to have it closed at a known time, use ``async with AsyncPacer(...) as pacer``.

    Args:
        source: Chunks of an OpenAI stream, or any items.
        reader: What the reader expects.
        sent_s: When the request was sent, on the clock; now by default.
        most_items: Items read ahead at most.
        clock: Seconds from anywhere; by default the event loop's, which is `time.monotonic`.
        sleep: Waits so many seconds.
        **how: `start`, `tokens` and `split`, as in `PacingBuffer`.

    Attributes:
        reading: The live record.
    """

    def __init__(
        self,
        source: AsyncIterable[Item],
        reader: Reader,
        *,
        sent_s: float | None = None,
        most_items: int | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        **how: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._now_s, self._sleep = clock or loop.time, sleep
        self._buffer: PacingBuffer[Item] = PacingBuffer(reader, self._now_s() if sent_s is None else sent_s, **how)
        self.reading: Reading = self._buffer.reading
        self._source = source
        self._most_items = most_items
        self._came, self._went = asyncio.Event(), asyncio.Event()
        self._closed = False
        self._error: BaseException | None = None
        self._reader = loop.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._came.set())

    async def __aiter__(self) -> AsyncIterator[Item]:
        try:
            while await self._wait_until_due():
                item = self._buffer.take(self._now_s())
                self._went.set()
                yield item
            if self._error is not None and not self._closed:
                raise self._error
        finally:
            await self.aclose()

    async def __aenter__(self) -> AsyncPacer[Item]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Show no more and close the source; what is still held is dropped."""
        self._closed = True
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _wait_until_due(self) -> bool:
        """Whether there is an item to show, waiting for it; false at the end of the stream."""
        while not self._closed:
            if len(self._buffer):
                wait_s = self._buffer.wait_s(self._now_s())
                if wait_s == 0.0:
                    return True
                await self._sleep(wait_s)
            elif self._reader.done():
                return False
            else:
                self._came.clear()
                await self._came.wait()
        return False

    async def _read(self) -> None:
        try:
            try:
                await self._fill()
            finally:
                await _aclose(self._source)
        except BaseException as error:
            self._error = error  # raised where the stream is shown

    async def _fill(self) -> None:
        async for item in self._source:
            while self._most_items is not None and len(self._buffer) >= self._most_items:
                self._went.clear()
                await self._went.wait()
            self._buffer.put(item, self._now_s())
            self._came.set()


async def _aclose(source: Any) -> None:
    """Close an asynchronous generator (`aclose`) or a client's stream (`close`, a coroutine)."""
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    closed = close() if close is not None else None
    if inspect.isawaitable(closed):
        await closed
