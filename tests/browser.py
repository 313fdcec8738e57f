"""A headless Chromium that shows a page while it changes: driven over the DevTools protocol, complaints collected.

`python -m tests.browser URL SECONDS FILE` takes a picture, as for docs/side_by_side.png.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"),
    *(
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ),
)
LIMIT_S = 60.0


class Tab:
    """One page; `complaints` has what the console got and which errors nobody caught."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket, self._last_id = socket, 0

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        self._last_id += 1
        await self._socket.send_json({"id": self._last_id, "method": method, "params": given})
        while (said := await self._socket.receive_json()).get("id") != self._last_id:
            if said["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(said["params"])[:500])
        assert "error" not in said, said
        return said["result"]

    async def value(self, expression: str) -> Any:
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until something is true on the page."""
        async with asyncio.timeout(LIMIT_S):
            while not await self.value(expression):
                await asyncio.sleep(0.1)

    async def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def showing(chromium: str, url: str, folder: Path, width: int = 1240, height: int = 1000) -> AsyncIterator[Tab]:
    """A tab with the page, in a browser of its own whose files go to `folder`."""
    words = [*QUIET, "--remote-debugging-port=0", f"--user-data-dir={folder}", f"--window-size={width},{height}"]
    process = await asyncio.create_subprocess_exec(
        chromium, *words, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    reading = asyncio.create_task(process.stderr.read(0))
    try:
        async with asyncio.timeout(LIMIT_S):
            while b"DevTools listening on " not in (line := await process.stderr.readline()):
                assert line, "the browser ended at once"
        reading = asyncio.create_task(process.stderr.read())  # so that it never waits for a reader
        address = urlsplit(line.decode().split()[-1]).netloc
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address}/json/list") as response:
                page = next(entry for entry in await response.json() if entry["type"] == "page")
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await tab.call(f"{domain}.enable")
                await tab.call("Page.navigate", url=url)
                yield tab
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        await reading


async def _take_picture(url: str, seconds: str, file: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with showing(shutil.which("chromium") or "google-chrome", url, Path(folder)) as tab:
            await asyncio.sleep(float(seconds))
            Path(file).write_bytes(await tab.picture())


if __name__ == "__main__":
    asyncio.run(_take_picture(*sys.argv[1:]))
