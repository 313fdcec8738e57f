from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.client import AsyncPacer, Pacer, Reader, Reading
from andes_engine.client.reading import Start
from andes_engine.errors import AndesError
from andes_engine.qoe import headline_qoe, reader_lag
from tests.client.virtual_time import ScriptedClock, run_virtually

READER = Reader(ttft_s=1.0, tds=5.0)
Shown = list[tuple[float, Any]]


def show(times_s: Sequence[float], items: Sequence[Any], reader: Reader = READER, **how: Any) -> tuple[Shown, Reading]:
    """What the threaded pacer shows, and when."""
    clock = ScriptedClock(times_s, items)
    pacer = Pacer(clock.source(), reader, clock=clock, **how)
    return [(clock.time_s, item) for item in pacer], pacer.reading


def show_async(
    times_s: Sequence[float], items: Sequence[Any], reader: Reader = READER, **how: Any
) -> tuple[Shown, Reading]:
    async def task() -> tuple[Shown, Reading]:
        pacer = AsyncPacer(arriving(times_s, items), reader, **how)
        now = asyncio.get_running_loop().time
        return [(now(), item) async for item in pacer], pacer.reading

    return run_virtually(task())


async def arriving(times_s: Sequence[float], items: Sequence[Any]) -> AsyncIterator[Any]:
    for when_s, item in zip(times_s, items, strict=True):
        await asyncio.sleep(when_s - asyncio.get_running_loop().time())
        yield item


SHELLS = pytest.mark.parametrize("pace", [show, show_async])


@SHELLS
def test_early_tokens_wait_for_their_reader(pace: Any) -> None:
    shown, reading = pace([0.1, 0.1, 0.1, 4.0, 4.0], "abcde")
    assert [item for _, item in shown] == list("abcde")
    assert [when for when, _ in shown] == pytest.approx([1.0, 1.2, 1.4, 4.0, 4.2])
    assert reading.delivered_s == pytest.approx([0.1, 0.1, 0.1, 4.0, 4.0])
    assert reading.consumed_s == pytest.approx([1.0, 1.2, 1.4, 4.0, 4.2])
    assert reading.buffered_tokens == 0


@SHELLS
def test_start_at_arrival_shows_the_first_token_at_once(pace: Any) -> None:
    shown, reading = pace([0.1, 0.1, 0.1], "abc", start="arrival")
    assert [when for when, _ in shown] == pytest.approx([0.1, 0.3, 0.5])
    assert reading.qoe == 1.0


@SHELLS
def test_the_time_before_the_pacer_counts(pace: Any) -> None:
    shown, reading = pace([0.5], "a", sent_s=-3.0)
    assert shown == [(0.5, "a")] and reading.delivered_s == reading.consumed_s == [3.5]
    assert reading.qoe == pytest.approx(0.1 / (0.1 + 2.5))


@st.composite
def responses(draw: Any) -> tuple[Reader, list[float], list[int]]:
    gaps = draw(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=25))
    tokens = draw(st.lists(st.integers(0, 4), min_size=len(gaps), max_size=len(gaps)))
    return Reader(draw(st.floats(0.0, 3.0)), draw(st.floats(0.5, 20.0))), list(np.cumsum(gaps)), tokens


@SHELLS
@given(response=responses(), start=st.sampled_from(["expected", "arrival"]))
def test_pacing_is_the_consumption_model_of_qoe(
    pace: Any, response: tuple[Reader, list[float], list[int]], start: Start
) -> None:
    reader, times_s, tokens = response
    items = list(enumerate(tokens))
    shown, reading = pace(times_s, items, reader, start=start, tokens=lambda item: item[1])
    assert [item for _, item in shown] == items
    shown_s = np.array([when for when, _ in shown])
    assert (shown_s >= np.array(times_s) - 1e-9).all(), "shown before it came"
    delivered, consumed = np.array(reading.delivered_s), np.array(reading.consumed_s)
    assert delivered == pytest.approx(np.repeat(times_s, tokens))
    assert (np.diff(consumed) >= reader.latency_s * (1 - 1e-9)).all(), "faster than the reader"
    if len(delivered):
        expected = reader.ttft_s + reader.latency_s * np.arange(len(delivered))
        assert np.maximum(consumed - expected, 0.0) == pytest.approx(
            reader_lag(delivered, reader.ttft_s, reader.latency_s), abs=1e-4
        )
        assert reading.qoe == headline_qoe(delivered, reader.ttft_s, reader.latency_s)
        if start == "expected":
            assert consumed[0] >= reader.ttft_s


@SHELLS
def test_several_tokens_of_an_item_take_their_time(pace: Any) -> None:
    shown, reading = pace([0.0, 0.0], ["one two three", "four"], tokens=lambda text: len(text.split()))
    assert shown == [(pytest.approx(1.0), "one two three"), (pytest.approx(1.6), "four")]
    assert reading.consumed_s == pytest.approx([1.0, 1.2, 1.4, 1.6])


@SHELLS
def test_an_item_can_be_shown_token_by_token(pace: Any) -> None:
    shown, _ = pace([0.0], ["one two"], tokens=lambda text: len(text.split()), split=lambda text, _: text.split())
    assert shown == [(pytest.approx(1.0), "one"), (pytest.approx(1.2), "two")]


def test_the_record_is_live() -> None:
    seen = []

    async def watch() -> None:
        pacer = AsyncPacer(arriving([0.0, 0.1, 0.1, 7.0], "abcd"), Reader(ttft_s=0.0, tds=1.0))
        async for _ in pacer:
            seen.append((pacer.reading.buffered_tokens, len(pacer.reading.consumed_s), pacer.reading.qoe))

    run_virtually(watch())
    assert [held for held, *_ in seen] == [0, 1, 0, 0] and [shown for _, shown, _ in seen] == [1, 2, 3, 4]
    assert [qoe for *_, qoe in seen] == [1.0, 1.0, 1.0, pytest.approx(2.0 / 3.0)]


@SHELLS
@pytest.mark.parametrize(
    "wrong", [{"tokens": lambda _: -1}, {"tokens": lambda _: 3, "split": lambda item, _: [item] * 2}]
)
def test_a_wrong_counter_is_told(pace: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(AndesError, match="it must"):
        pace([0.0], "a", **wrong)


def test_a_reader_must_be_possible() -> None:
    for wrong in ({"tds": 0.0}, {"ttft_s": -1.0}, {"ttft_s": float("nan")}, {"tds": float("inf")}):
        with pytest.raises(AndesError, match="ttft_s >= 0"):
            Reader(**wrong)
    with pytest.raises(AndesError, match="unknown start"):
        Reading(READER, "soon")  # type: ignore[arg-type]


def test_an_error_is_raised_after_what_came_before_it() -> None:
    clock = ScriptedClock([0.1, 0.1, 0.2], "abc", RuntimeError("cut off"))
    shown = []
    with pytest.raises(RuntimeError, match="cut off"):
        for item in Pacer(clock.source(), READER, clock=clock):
            shown.append((clock.time_s, item))
    assert shown == [(pytest.approx(1.0), "a"), (pytest.approx(1.2), "b"), (pytest.approx(1.4), "c")]


def test_an_error_is_raised_after_what_came_before_it_async() -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        raise RuntimeError("cut off")

    async def task() -> None:
        shown = []
        with pytest.raises(RuntimeError, match="cut off"):
            async for item in AsyncPacer(source(), READER):
                shown.append(item)
        assert shown == ["a", "b"] and asyncio.get_running_loop().time() == pytest.approx(1.2)

    run_virtually(task())


class Endless:
    """A client's stream: goes on until it is closed."""

    def __init__(self) -> None:
        self.given = itertools.count()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[int]:
        while not self.closed.is_set():
            yield next(self.given)

    def close(self) -> None:
        self.closed.set()


def test_leaving_the_loop_closes_the_source() -> None:
    stream = Endless()
    for item in Pacer(stream, Reader(0.0, 1e6), most_items=3):
        if item == 10:
            break
    assert stream.closed.wait(30.0)


def test_a_generator_is_closed_by_the_thread_that_runs_it() -> None:
    clock = ScriptedClock([0.0, 0.5], "ab")
    with Pacer(clock.source(), READER, clock=clock) as pacer:
        assert next(iter(pacer)) == "a"
    clock._released.put((None, "late"))
    assert clock.closed.wait(30.0)
    assert list(pacer) == []


def test_leaving_the_loop_closes_the_source_async() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            for item in itertools.count():
                yield item
                await asyncio.sleep(0.01)
        finally:
            closed.append(asyncio.get_running_loop().time())

    async def task() -> None:
        async with AsyncPacer(source(), READER) as pacer:
            async for item in pacer:
                if item == 2:
                    break
        assert closed == [pytest.approx(1.4)]
        assert [item async for item in pacer] == []

    run_virtually(task())


@pytest.mark.parametrize("most_items", [1, 4])
def test_no_more_is_read_ahead_than_allowed(most_items: int) -> None:
    held = []

    async def source() -> AsyncIterator[int]:
        for item in range(12):
            yield item
            held.append(pacer.reading.buffered_tokens)

    async def task() -> list[int]:
        nonlocal pacer
        pacer = AsyncPacer(source(), READER, most_items=most_items)
        return [item async for item in pacer]

    pacer: AsyncPacer[int]
    assert run_virtually(task()) == list(range(12))
    assert max(held) == most_items


def test_no_more_is_read_ahead_than_allowed_threaded() -> None:
    stream = Endless()
    with Pacer(stream, Reader(0.0, 1e6), most_items=2) as pacer:
        for item in pacer:
            assert pacer.reading.buffered_tokens <= 2
            if item == 50:
                break
    assert next(stream.given) <= 55, "one more is in the reading thread's hands, and one may be on its way"


def test_a_cancelled_reader_closes_its_source() -> None:
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(1e6)
        finally:
            closed.append(True)

    async def read() -> None:
        async for _ in AsyncPacer(source(), READER):
            pass

    async def task() -> None:
        reading = asyncio.create_task(read())
        await asyncio.sleep(5.0)
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled() and closed == [True]

    run_virtually(task())
