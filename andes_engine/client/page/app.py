"""The page's server: one HTML file, and a stream of snapshots for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files

from aiohttp import web

from andes_engine.client.page.pane import Pane

TICK_S = 0.2
LEAD_S = 0.5
"""Between the first look and the first arrival, so that the page sees the beginning."""


class SideBySide:
    """Replays all panes together from when somebody first looks; whoever looks later sees the same replay.

    Args:
        panes: What is shown, from left to right.
        about: A sentence on what was asked of whom.
    """

    def __init__(self, panes: Sequence[Pane], about: str) -> None:
        self._panes, self._about = panes, about
        self._start_s = 0.0
        self._replay: asyncio.Future[list[None]] | None = None

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
        app.on_shutdown.append(self._stop)
        return app

    def snapshot(self) -> dict[str, object]:
        """All panes as they are now, as plain data."""
        now_s = asyncio.get_running_loop().time() - self._start_s
        done = self._replay is not None and self._replay.done()
        return {
            "about": self._about,
            "time_s": now_s,
            "done": done,
            "panes": [pane.snapshot(now_s) for pane in self._panes],
        }

    async def _page(self, _: web.Request) -> web.Response:
        text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._replay is None:
            self._start_s = asyncio.get_running_loop().time() + LEAD_S
            self._replay = asyncio.gather(*(pane.run(self._start_s) for pane in self._panes))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # whoever looked has gone
            while not (shown := self.snapshot())["done"]:
                await self._tell(response, shown)
                await asyncio.sleep(TICK_S)
            self._replay.result()
            await self._tell(response, shown)
        return response

    async def _tell(self, response: web.StreamResponse, shown: dict[str, object]) -> None:
        await response.write(f"data: {json.dumps(shown, allow_nan=False)}\n\n".encode())

    async def _stop(self, _: web.Application) -> None:
        if self._replay is not None:
            self._replay.cancel()
            await asyncio.gather(self._replay, return_exceptions=True)
