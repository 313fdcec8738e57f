"""The load generator against a scripted server, in virtual time over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.client.completions import ABORTED
from andes_engine.client.open_loop import OpenLoop, Sent, open_session
from andes_engine.client.outcome import client_record
from andes_engine.client.server import find_target, server_preemptions
from andes_engine.client.sse import EventParser
from andes_engine.errors import AndesError
from andes_engine.metrics import summarize
from andes_engine.qoe import headline_qoe
from andes_engine.records import RunRecord
from andes_engine.workload import Workload
from tests.client.scripted_server import MODEL, Answer, Script, ScriptedServer
from tests.client.virtual_time import lose_time, run_virtually

SETTLE_S = 0.003
ROUND_TRIP_S = 1e-6
"""Virtual time does not pass while bytes travel."""


def asking(arrival_s: list[float], **columns: Any) -> Workload:
    given = {"prompt_tokens": 5, "output_tokens": 3, "ttft_s": 1.0, "latency_s": 0.2, **columns}
    count = len(arrival_s)
    return Workload(
        "test", np.array(arrival_s), *(np.full(count, given.pop(name)) for name in list(given)[:4]), **given
    )


def virtually(task: Coroutine[Any, Any, Any]) -> Any:
    return run_virtually(task, SETTLE_S)


def replay(server: ScriptedServer, workload: Workload, **how: Any) -> tuple[RunRecord, dict[int, Sent]]:
    async def task() -> tuple[RunRecord, dict[int, Sent]]:
        async with server.running() as url, open_session() as session:
            loop = OpenLoop(session, await find_target(session, url, None), workload, **how)
            duration_s = await loop.run()
        noted = {"most_in_flight": float(loop.most_in_flight), "nothing": None}
        return client_record(workload, loop.sent, "scripted", "server", duration_s, **noted), loop.sent

    return virtually(task())


def paced(*gaps_s: float) -> Script:
    async def script(answer: Answer) -> None:
        for gap_s in gaps_s:
            await asyncio.sleep(gap_s)
            await answer.tokens()
        await answer.event("[DONE]")

    return script


def test_tokens_are_timed_where_they_arrive() -> None:
    server = ScriptedServer({0: paced(0.5, 0.1, 0.1), 1: paced(3.0, 0.4, 0.4)})
    record, sent = replay(server, asking([0.25, 2.0]))
    assert record.token_s[0] == pytest.approx([0.75, 0.85, 0.95], abs=ROUND_TRIP_S)
    assert record.token_s[1] == pytest.approx([5.0, 5.4, 5.8], abs=ROUND_TRIP_S)
    assert record.qoe[0] == 1.0 and record.finished.all()
    assert record.qoe[1] == pytest.approx(headline_qoe([3.0, 3.4, 3.8], 1.0, 0.2))
    assert record.duration_s == pytest.approx(5.8, abs=ROUND_TRIP_S)
    assert not any(entry.failure for entry in sent.values())
    assert np.isnan(summarize(record)["preemptions_per_request"]), "a client cannot know"
    assert "nothing" not in record.notes


def test_what_is_asked() -> None:
    server = ScriptedServer()
    replay(server, asking([0.0, 0.5], latency_s=0.25, user=np.array([7, 8])))
    first, second = server.asked
    assert len(first["prompt"]) == 5 and first["prompt"] != second["prompt"]
    assert first["cache_salt"] == second["cache_salt"]
    assert (first["model"], first["max_tokens"], first["ignore_eos"], first["stream"]) == (MODEL, 3, True, True)
    assert second["vllm_xargs"] == {"qoe_ttft": 1.0, "qoe_tds": 4.0, "qoe_id": "1", "qoe_user": 8}


def test_two_replays_share_prompts_but_not_the_prefix_cache() -> None:
    server = ScriptedServer()
    for _ in range(2):
        replay(server, asking([0.0]), seed=4)
    assert server.asked[0]["prompt"] == server.asked[1]["prompt"]
    assert server.asked[0]["cache_salt"] != server.asked[1]["cache_salt"]


def test_late_answers_delay_no_request() -> None:
    arrival_s = [0.0, 0.1, 0.2, 0.3]
    record, sent = replay(ScriptedServer({0: paced(50.0, 0.0, 0.0)}, paced(0.01, 0.01, 0.01)), asking(arrival_s))
    assert [sent[row].sent_s for row in range(4)] == pytest.approx(arrival_s, abs=ROUND_TRIP_S)
    assert record.notes["send_lag_max_s"] < ROUND_TRIP_S
    assert record.ttft_s == pytest.approx([50.0, 0.01, 0.01, 0.01], abs=ROUND_TRIP_S)


def test_a_sender_that_is_late_says_so_and_counts_it() -> None:
    async def busy(answer: Answer) -> None:
        lose_time(4.0)
        await paced(0.0, 0.0, 0.0)(answer)

    record, _ = replay(ScriptedServer({0: busy}, paced(0.5, 0.0, 0.0)), asking([0.0, 1.0]))
    assert record.notes["send_lag_max_s"] == pytest.approx(3.0, abs=1e-3)
    assert record.ttft_s[1] == pytest.approx(3.5, abs=1e-3), "counts from when it should have gone out"


def test_chunks_of_several_tokens_are_counted_by_their_usage() -> None:
    async def script(answer: Answer) -> None:
        await answer.tokens(1)
        await asyncio.sleep(1.0)
        await answer.tokens(2)
        await answer.event('{"choices": [], "usage": {"completion_tokens": 3}}')
        await answer.event("[DONE]")

    record, _ = replay(ScriptedServer(default=script), asking([0.0]))
    assert record.finished.all() and record.token_s[0] == pytest.approx([0.0, 1.0, 1.0], abs=ROUND_TRIP_S)


async def refused(answer: Answer) -> None:
    await answer.refuse(400, "prompt too long")


async def cut_off(answer: Answer) -> None:
    await answer.tokens()
    await asyncio.sleep(0.1)
    answer.cut_off()


async def no_end(answer: Answer) -> None:
    for _ in range(3):
        await answer.tokens()


async def no_json(answer: Answer) -> None:
    await answer.tokens()
    await answer.event('{"choices": [')


async def no_chunk(answer: Answer) -> None:
    await answer.event("[1]")


async def no_text(answer: Answer) -> None:
    await answer.write(b"data: \xff\xfe\n\n")


async def told(answer: Answer) -> None:
    await answer.tokens()
    await answer.event('{"error": {"message": "engine died", "code": 500}}')


async def stuck(answer: Answer) -> None:
    await answer.tokens()
    await asyncio.sleep(1e6)


@pytest.mark.parametrize(
    ("script", "kind", "detail", "tokens"),
    [
        (refused, "http_400", "prompt too long", 0),
        (cut_off, "disconnected", "", 1),
        (no_end, "truncated", "[DONE]", 3),
        (no_json, "malformed", '{"choices": [', 1),
        (no_chunk, "malformed", "[1]", 0),
        (no_text, "malformed", "utf-8", 0),
        (told, "server_error", "engine died", 1),
        (stuck, "timeout", "", 1),
        (paced(0.1), "too_few_tokens", "1 tokens came, 3 were asked for", 1),
        (paced(0.1, 0.1, 0.1, 0.1), "too_many_tokens", "4 tokens came", 3),
    ],
)
def test_every_failure_has_a_name_and_hurts_nobody_else(script: Script, kind: str, detail: str, tokens: int) -> None:
    record, sent = replay(ScriptedServer({1: script}), asking([0.0, 0.5, 1.0]), timeout_s=20.0)
    assert [sent[row].failure for row in range(3)] == ["", kind, ""]
    assert detail in sent[1].detail
    assert record.notes["failed"] == record.notes[f"failed_{kind}"] == 1.0
    assert record.emitted_tokens.tolist() == [3, tokens, 3]
    assert record.finished.tolist() == [True, tokens == 3, True]
    assert record.qoe_lower[1] == (1.0 if tokens == 3 else 0.0)
    assert kind != "timeout" or record.duration_s == pytest.approx(20.5, abs=ROUND_TRIP_S)


def test_nobody_listens() -> None:
    async def task() -> dict[int, Sent]:
        async with open_session() as session:
            async with ScriptedServer().running() as url:
                target = await find_target(session, url, None)
            loop = OpenLoop(session, target, asking([0.0]))
            await loop.run()
            return loop.sent

    assert virtually(task())[0].failure == "connection"


def test_an_interrupted_replay_says_what_went_out() -> None:
    async def task() -> dict[int, Sent]:
        async with ScriptedServer(default=paced(1.0, 1.0, 1.0)).running() as url, open_session() as session:
            loop = OpenLoop(session, await find_target(session, url, None), asking([0.0, 2.0, 99.0]))
            running = asyncio.create_task(loop.run())
            await asyncio.sleep(4.5)
            running.cancel()
            await asyncio.wait([running])
            assert loop.in_flight == 0 and running.cancelled()
            return loop.sent

    sent = virtually(task())
    assert [(sent[row].failure, len(sent[row].token_s)) for row in sent] == [("", 3), ("interrupted", 2)]


def test_a_reader_who_leaves_hangs_up() -> None:
    server = ScriptedServer(default=paced(*[0.5] * 30))
    workload = asking([0.0, 1.0], output_tokens=30, abort_s=np.array([3.2, np.inf]))
    record, sent = replay(server, workload)
    assert [sent[row].failure for row in range(2)] == [ABORTED, ""]
    assert (
        record.emitted_tokens.tolist() == [6, 30] and record.notes["aborted"] == 1.0 and record.notes["failed"] == 0.0
    )
    assert list(server.left_s) == [0] and server.left_s[0] == pytest.approx(3.2, abs=0.51)
    assert record.qoe_lower[0] == 0.0 < record.qoe[0]


def test_many_streams_at_once() -> None:
    record, _ = replay(ScriptedServer(default=paced(5.0, 1.0, 1.0)), asking([0.01 * row for row in range(300)]))
    assert record.notes["most_in_flight"] == 300.0 and record.finished.all()
    assert record.ttft_s == pytest.approx(np.full(300, 5.0), abs=ROUND_TRIP_S)


def test_progress_is_told() -> None:
    seen = []
    replay(
        ScriptedServer(default=paced(1.0, 0.0, 0.0)),
        asking([0.0, 0.5]),
        on_change=lambda loop: seen.append((len(loop.sent), loop.in_flight)),
    )
    assert seen == [(1, 1), (2, 2), (2, 1), (2, 0)]


def test_a_server_is_asked_what_it_is() -> None:
    async def task() -> None:
        server = ScriptedServer()
        async with server.running() as url, open_session() as session:
            assert await find_target(session, f"{url}/v1/", MODEL) == (url, MODEL, 4096)
            assert await server_preemptions(session, url) is None
            server.preemptions = 4
            assert await server_preemptions(session, url) == 7.0
            with pytest.raises(AndesError, match="serves scripted, not 'other'"):
                await find_target(session, url, "other")
            with pytest.raises(AndesError, match="give one like"):
                await find_target(session, "localhost:8000", None)
        async with open_session() as session:
            with pytest.raises(AndesError, match="no OpenAI-compatible server answers"):
                await find_target(session, url, None)
            assert await server_preemptions(session, url) is None

    virtually(task())


@given(data=st.data(), texts=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), max_size=6))
def test_events_do_not_depend_on_how_the_bytes_come(data: Any, texts: list[str]) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    stream = "".join(f": comment{end}data: {text}{end}{end}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser, events = EventParser(), []
    for begin, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += parser.feed(stream[begin:stop])
    assert events == texts


def test_an_event_of_several_lines_and_one_without_end() -> None:
    assert EventParser().feed(b"event: x\ndata: a\ndata:b\n\ndata: c\n") == ["a\nb"]
