"""Open-loop load: every request of a workload goes out at its time, however late the answers are."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp

from andes_engine.client.chunks import ChunkTokens
from andes_engine.client.completions import (
    ABORTED,
    INTERRUPTED,
    TIMEOUT,
    TOO_FEW_TOKENS,
    TOO_MANY_TOKENS,
    StreamFailure,
    completion_body,
    completion_chunks,
)
from andes_engine.client.server import Target
from andes_engine.vllm.contenders import episode_requests
from andes_engine.vllm.episode import EpisodeRequest
from andes_engine.workload import Workload

CONNECT_LIMIT_S = 30.0

OnChange = Callable[["OpenLoop"], None]
"""Called whenever a request goes out or ends."""


def open_session() -> aiohttp.ClientSession:
    """A session that holds nothing back: a connection for each request, as many as there are, no limit of time but to connect."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S)
    )


@dataclass(slots=True)
class Sent:
    """What became of one request. Times are s on the clock of the workload's arrivals.

    Args:
        sent_s: When it went out.
        token_s: When each token arrived, in full.
        failure: How it failed, `aborted` if its reader left, empty if it went well.
        detail: What the server, or the connection, said to that.
    """

    sent_s: float
    token_s: list[float] = field(default_factory=list)
    failure: str = ""
    detail: str = ""


class OpenLoop:
    """One replay of a workload against a server.

    Args:
        session: Whose connections to use.
        target: Server and model.
        workload: Its requests. Prompts are random tokens, alike where the workload says so (`EpisodeRequest.prompt_ids`).
        seed: Of the prompts.
        timeout_s: A request that is not complete so long after it went out has failed, s.
        on_change: Told of progress.

    Attributes:
        sent: What became of each request that went out, by row.
        in_flight: Requests on their way now.
        most_in_flight: The same at its highest.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        target: Target,
        workload: Workload,
        seed: int = 0,
        timeout_s: float = 600.0,
        on_change: OnChange = lambda _: None,
    ) -> None:
        self.sent: dict[int, Sent] = {}
        self.in_flight = self.most_in_flight = 0
        self._session, self._target = session, target
        self._requests = episode_requests(workload)
        self._seed, self._timeout_s = seed, timeout_s
        self._on_change = on_change
        self._salt = uuid.uuid4().hex  # nothing an earlier replay left in the server's prefix cache is found
        self._start_s = 0.0

    @property
    def now_s(self) -> float:
        """Time on the clock of the workload's arrivals, s."""
        return asyncio.get_running_loop().time() - self._start_s

    async def run(self) -> float:
        """Send every request at its time and wait for all answers; returns how long it took, s.

        Cancelled, it hangs up on those under way; `sent` then has what went out.
        """
        body = self._body(0)
        self._start_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for row, request in enumerate(self._requests):
                await asyncio.sleep(request.arrival_s - self.now_s)
                group.create_task(self._send(row, request, body))
                if row + 1 < len(self._requests):
                    body = self._body(row + 1)
        return self.now_s

    async def _send(self, row: int, request: EpisodeRequest, body: bytes) -> None:
        outcome = self.sent[row] = Sent(self.now_s)
        self._count(+1)
        give_up_s = min(request.abort_s, outcome.sent_s + self._timeout_s)
        try:
            async with asyncio.timeout(give_up_s - self.now_s):
                await self._receive(outcome, body, request.output_tokens)
        except TimeoutError:
            outcome.failure = ABORTED if give_up_s == request.abort_s else TIMEOUT
        except asyncio.CancelledError:
            outcome.failure = INTERRUPTED
            raise
        except StreamFailure as failure:
            outcome.failure, outcome.detail = failure.kind, failure.detail
        finally:
            self._count(-1)

    async def _receive(self, outcome: Sent, body: bytes, output_tokens: int) -> None:
        tokens_of = ChunkTokens()
        async with aclosing(completion_chunks(self._session, self._target.url, body)) as chunks:
            async for chunk in chunks:
                outcome.token_s += [self.now_s] * tokens_of(chunk)
        if (tokens := len(outcome.token_s)) != output_tokens:
            kind = TOO_FEW_TOKENS if tokens < output_tokens else TOO_MANY_TOKENS
            raise StreamFailure(kind, f"{tokens} tokens came, {output_tokens} were asked for")

    def _body(self, row: int) -> bytes:
        return completion_body(self._target.model, self._requests[row], self._seed, self._salt)

    def _count(self, change: int) -> None:
        self.in_flight += change
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._on_change(self)
