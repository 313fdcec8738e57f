"""A completions server of a few lines whose answers are scripted, faults included; real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

MODEL = "scripted"
Script = Callable[["Answer"], Coroutine[Any, Any, None]]


class Answer:
    """One request under way: what was asked, and ways to answer it."""

    def __init__(self, server: ScriptedServer, request: web.Request, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._server, self._request = server, request
        self._tokens = 0

    async def tokens(self, count: int = 1) -> None:
        """A chunk of so many tokens, as vLLM writes it."""
        self._tokens += count
        choice = {"index": 0, "text": " w" * count, "finish_reason": None}
        await self.event(json.dumps({"choices": [choice], "usage": {"completion_tokens": self._tokens}}))

    async def event(self, data: str) -> None:
        await self.write(f"data: {data}\n\n".encode())

    async def write(self, block: bytes) -> None:
        if not self.response.prepared:
            await self.response.prepare(self._request)
        await self.response.write(block)

    async def refuse(self, status: int, text: str) -> None:
        self.response = web.Response(status=status, text=text)  # type: ignore[assignment]

    def cut_off(self) -> None:
        assert self._request.transport is not None
        self._request.transport.abort()


async def well_behaved(answer: Answer) -> None:
    """Every token at once, and an end."""
    for _ in range(answer.asked.get("max_tokens", 4)):
        await answer.tokens()
    await answer.event("[DONE]")


class ScriptedServer:
    """Answers each request by the script of its `qoe_id`, or by `default`."""

    def __init__(self, scripts: dict[int, Script] | None = None, default: Script = well_behaved) -> None:
        self.asked: list[dict[str, Any]] = []
        self.left_s: dict[int, float] = {}
        self.preemptions: int | None = None
        self.max_model_len: int | None = 4096
        self._scripts, self._default = scripts or {}, default

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The server's URL, while it runs."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/completions", self._completions)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL, "max_model_len": self.max_model_len}]})

    async def _metrics(self, _: web.Request) -> web.Response:
        if self.preemptions is None:
            raise web.HTTPNotFound
        name = "vllm:num_preemptions_total"
        self.preemptions += 3
        return web.Response(text=f'# TYPE {name} counter\n{name}{{engine="0"}} {self.preemptions}\n')

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        row = int(asked["vllm_xargs"].get("qoe_id", 0))
        answer = Answer(self, request, asked)
        try:
            await self._scripts.get(row, self._default)(answer)
        except (asyncio.CancelledError, aiohttp.ClientConnectionResetError):
            self.left_s[row] = asyncio.get_running_loop().time()
            raise
        return answer.response


class Background:
    """A scripted server on a thread of its own."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server, self.url = server, ""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    async def _serve(self) -> None:
        async with self.server.running() as self.url:
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Background:
        self._thread.start()
        assert self._ready.wait(30.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30.0)
        self._loop.close()
